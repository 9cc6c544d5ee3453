"""What a database is reached by: the outcome of reading a DSN, its parts and the TLS settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from eggycore.config import Secret

__all__ = ["DEFAULT_PORTS", "MEMORY", "ServerKind", "ServerTarget", "SqliteTarget", "Target", "Tls", "TlsMode"]

MEMORY = ":memory:"

ServerKind = Literal["mysql", "postgresql"]
"""Which protocol the server speaks; MariaDB and TiDB speak that of MySQL."""

TlsMode = Literal["disable", "require", "verify-ca", "verify-full"]
"""As in libpq: encrypt or not; check who signed the certificate; check that it names this host too."""

DEFAULT_PORTS: dict[ServerKind, int] = {"mysql": 3306, "postgresql": 5432}


@dataclass(frozen=True, kw_only=True)
class Tls:
    """How the connection is encrypted.

    Args:
        mode: See `TlsMode`.
        ca: File with the certificates of those who may sign the server's; the system's when None.
        certificate: File with this client's certificate, for servers that ask for one.
        key: File with its private key.
    """

    mode: TlsMode
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SqliteTarget:
    """An SQLite database.

    Args:
        path: The file, relative to the app's folder or absolute; None for a database in memory.
    """

    path: Path | None

    @property
    def location(self) -> str:
        """The path as it was given, or ":memory:"."""
        return MEMORY if self.path is None else str(self.path)

    def __str__(self) -> str:
        return self.location


@dataclass(frozen=True, kw_only=True)
class ServerTarget:
    """A database on a server.

    Args:
        kind: The protocol.
        host: Name or address; "" when there is a socket.
        port: TCP port.
        name: The database's name.
        user: Who connects; "" for the driver's default, the user that the process runs as.
        password: Their password, None for none.
        socket: A Unix socket (MySQL), or the folder that it is in (PostgreSQL), instead of host and port.
        tls: How it is encrypted; None lets the driver's default decide (PostgreSQL: prefer; MySQL: none).
        options: More connection options of the DSN, already checked: name to value. The names are libpq's for
            PostgreSQL; for MySQL they are charset, collation, connect_timeout, read_timeout and write_timeout, the
            timeouts in seconds as decimal numbers.
    """

    kind: ServerKind
    host: str
    port: int
    name: str
    user: str
    password: Secret[str] | None = None
    socket: Path | None = None
    tls: Tls | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """Where it is, without user and password: "postgresql://db.example:5432/orders"."""
        if self.socket is not None:
            return f"{self.kind}://{self.socket}/{self.name}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}/{self.name}"

    def __str__(self) -> str:
        return self.location


Target: TypeAlias = SqliteTarget | ServerTarget
