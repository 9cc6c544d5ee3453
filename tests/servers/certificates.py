"""Certificates for tests: an authority and what it has signed, in order and not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import trustme

from tests.servers.processes import give

TLSMode = Literal["offered", "required", "client"]
"""What a server with TLS wants: nothing, TLS, or TLS with a client's certificate."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A certificate with its key, and the authority that the peer's certificate is checked with. PEM files."""

    certificate: Path
    key: Path
    authority: Path

    def installed(self, folder: Path, user: str | None) -> Identity:
        """A copy in a server's folder that only the server can read."""
        copies = [folder / "server.crt", folder / "server.key", folder / "authority.crt"]
        for source, copy in zip([self.certificate, self.key, self.authority], copies, strict=True):
            shutil.copyfile(source, copy)
            copy.chmod(0o600)
            give(copy, user)
        return Identity(certificate=copies[0], key=copies[1], authority=copies[2])


class Certificates:
    """An authority and the certificates that it has issued, as files.

    Args:
        folder: Where the files are written.
        names: Host names and addresses that the server's certificate is for.

    Attributes:
        authority: The authority's certificate: what a client trusts.
        other_authority: The certificate of an authority that has signed nothing here.
        server: For the server, of `names`.
        expired: The same, past its time.
        other_host: In order, but for the name `elsewhere.example`.
        client: For a client; the common name is `postgres`.
    """

    def __init__(self, folder: Path, *names: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.authority = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.authority))
        self.other_authority = folder / "other-authority.pem"
        trustme.CA().cert_pem.write_to_path(str(self.other_authority))
        names = names or ("127.0.0.1", "localhost")
        yesterday = datetime.now(UTC) - timedelta(days=1)
        self.server = self._written("server", self._authority.issue_cert(*names))
        self.expired = self._written(
            "expired",
            self._authority.issue_cert(*names, not_before=yesterday - timedelta(days=1), not_after=yesterday),
        )
        self.other_host = self._written("other-host", self._authority.issue_cert("elsewhere.example"))
        self.client = self._written("client", self._authority.issue_cert("client.example", common_name="postgres"))

    def _written(self, name: str, issued: trustme.LeafCert) -> Identity:
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(issued.private_key_pem.bytes())
        return Identity(certificate=certificate, key=key, authority=self.authority)


TLS = Certificates | Identity
"""What a server may be given: its own certificate is `server` of the first."""


def identity(tls: TLS) -> Identity:
    """The server's certificate."""
    return tls.server if isinstance(tls, Certificates) else tls
