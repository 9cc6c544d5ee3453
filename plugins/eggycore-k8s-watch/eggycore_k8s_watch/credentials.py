"""Tokens, certificates and keys: files that rotate, and what the standard library's TLS takes."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from eggycore_k8s_watch.errors import CredentialUnusable

__all__ = ["LOOK_EVERY", "CheckedFile", "Material", "client_context"]

Material: TypeAlias = Path | bytes
"""A PEM file, or its content."""

LOOK_EVERY = 10.0
"""Seconds between looks at a file that may have been replaced."""

_LIMIT = 1_048_576


class CheckedFile:
    """A file that others replace. Looked at no more often than every 10 s, and read only when it is another one.

    Args:
        path: The file.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock
        self._looked: float | None = None
        self._mark: tuple[int, int, int] | None = None
        self._content = b""

    def changed(self, *, again: bool = False) -> bool:
        """Whether it is another file than at the last look; the first look says yes, a missing file no.

        Args:
            again: Look even if the last look is less than 10 s ago.
        """
        now = self._clock()
        if not again and self._looked is not None and now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        try:
            mark = _mark(self.path)
        except OSError:
            return False
        changed, self._mark = mark != self._mark, mark
        return changed

    def content(self, *, again: bool = False) -> bytes:
        """What is in it, at most 10 s old; the last content while it cannot be read.

        Raises:
            OSError: It cannot be read and never could.
        """
        if self.changed(again=again) or not self._content:
            try:
                self._content = _read(self.path) or self._content  # empty while it is being written anew
            except OSError:
                self._mark = None
                if not self._content:
                    raise
        return self._content


def client_context(
    *, ca: Material | None, certificate: Material | None, key: Material | None, verify: bool
) -> ssl.SSLContext:
    """What `asyncio.open_connection(ssl=...)` takes.

    Args:
        ca: Who may sign the server's certificate; the system's authorities when None.
        certificate: This client's certificate, if it has one.
        key: Its private key; None when it is with the certificate. Never written to a disk.
        verify: Whether the server's certificate is checked.

    Raises:
        CredentialUnusable: One of them cannot be read or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs()  # tens of milliseconds, on the event loop
    else:  # a cluster's own authority is the only one that counts
        try:
            context.load_verify_locations(cadata=_text(ca))
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _unusable("authority of the API server's certificate", ca, error) from error
    if certificate is not None:
        try:
            with _as_file(_joined(certificate, key)) as file:
                context.load_cert_chain(file, password=lambda: "")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _unusable("client certificate, or its key,", certificate, error) from error
    return context


def _joined(certificate: Material, key: Material | None) -> bytes:
    parts = [_bytes(certificate), *([] if key is None else [_bytes(key)])]
    return b"\n".join(parts)


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL, which takes nothing but files, finds the content: in memory where that exists."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile(prefix="eggycore-") as file:  # readable for this user only, and gone at once
            file.write(content)
            file.flush()
            yield file.name


def _text(material: Material) -> str:
    return _bytes(material).decode("ascii")


def _bytes(material: Material) -> bytes:
    return material if isinstance(material, bytes) else _read(material)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise OSError(0, "more than 1 MiB long")
    return content


def _mark(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _unusable(purpose: str, material: Material, error: Exception) -> CredentialUnusable:
    place = str(material) if isinstance(material, Path) else "the kubeconfig"
    reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or "no PEM file"
    return CredentialUnusable(purpose, place, str(reason).replace("_", " ").lower())
