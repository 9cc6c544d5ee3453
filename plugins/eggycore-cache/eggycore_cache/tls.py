"""How connections to a cache server are encrypted: the settings, and the context that the standard library takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["Tls", "TlsFileUnusable", "TlsMode"]

TlsMode: TypeAlias = Literal["disable", "require", "verify-full"]
"""Not encrypted; encrypted, whoever answers; encrypted, and the certificate is signed and names this host."""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """How connections are encrypted.

    Args:
        mode: "require" checks nothing of the certificate, "verify-full" who signed it and that it names the host.
        ca: File with the certificates of those who may sign the server's; the system's when None.
        certificate: File with this client's certificate, for servers that ask for one.
        key: File with its private key; None when it is in the file of the certificate.
    """

    mode: Literal["require", "verify-full"]
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> SSLContext:
        """What `asyncio.open_connection(ssl=...)` takes. Reads the files.

        Raises:
            TlsFileUnusable: A file cannot be read, or is not what it should be.
        """
        import ssl

        context = ssl.create_default_context()
        if self.mode == "require":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.ca is not None:
            try:
                context.load_verify_locations(self.ca)
            except (OSError, ssl.SSLError) as error:
                raise _unusable("CACHE_TLS_CA", self.ca, error) from error
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
            except (OSError, ssl.SSLError) as error:
                raise _unusable("CACHE_TLS_CERTIFICATE", self.certificate, error) from error
        return context


@dataclass(eq=False)
class TlsFileUnusable(UsageError):
    """A certificate or key file of the cache's connections cannot be used.

    Args:
        setting: The variable that names it.
        path: The file.
        reason: What is wrong with it.
    """

    setting: str
    path: Path
    reason: str


@diagnose.register
def _(error: TlsFileUnusable) -> Diagnosis:
    return Diagnosis(
        description=f"The file {error.path} of {error.setting} cannot be used.",
        cause=f"{error.reason}.",
        action="Give a PEM file that this process may read; a key must be that of the certificate and not encrypted.",
    )


def _unusable(setting: str, path: Path, error: OSError) -> TlsFileUnusable:
    reason = error.strerror or getattr(error, "reason", None) or "no PEM file"
    return TlsFileUnusable(setting, path, str(reason).replace("_", " ").capitalize())
