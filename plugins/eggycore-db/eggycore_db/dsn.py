"""Reads a DATABASE_DSN. What a DSN holds may be a password, so no message ever repeats a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from eggycore.diagnostics import Diagnosis, diagnose, did_you_mean
from eggycore.errors import UsageError

__all__ = ["DsnRefused", "SqliteTarget", "parse_dsn"]

MEMORY = ":memory:"
SERVERS = {
    "mariadb": "MariaDB",
    "mysql": "MySQL",
    "postgres": "PostgreSQL",
    "postgresql": "PostgreSQL",
    "tidb": "TiDB",
}
EXAMPLE = "sqlite:///eggycore.db"


@dataclass(frozen=True, kw_only=True)
class SqliteTarget:
    """An SQLite database.

    Args:
        path: The file, relative to the working folder or absolute; None for a database in memory.
    """

    path: Path | None

    def __str__(self) -> str:
        return MEMORY if self.path is None else str(self.path)


@dataclass(eq=False)
class DsnRefused(UsageError):
    """A DSN cannot be used. Holds nothing of the DSN itself but the name of a well-known kind of server."""

    reason: str
    action: str


@diagnose.register
def _(error: DsnRefused) -> Diagnosis:
    return Diagnosis(description=f"The database DSN {error.reason}.", action=error.action)


def parse_dsn(dsn: str) -> SqliteTarget:
    """The database that a DSN names.

    Args:
        dsn: `sqlite:///file.db` (relative), `sqlite:////folder/file.db` (absolute) or `sqlite:///:memory:`;
            the path is percent-decoded.

    Raises:
        DsnRefused: It names another kind of database or does not parse.
    """
    scheme, separator, rest = dsn.partition("://")
    if not separator:
        raise _no_url(dsn)
    if scheme.lower() != "sqlite":
        raise _other_scheme(scheme.lower())
    if not rest.startswith("/"):
        raise DsnRefused(
            "has no file after its slashes" if not rest else "has two slashes before its file",
            f"Write three for a file in the working folder ({EXAMPLE}) and four for an absolute path "
            "(sqlite:////var/lib/eggycore.db).",
        )
    return SqliteTarget(path=_path(rest.removeprefix("/")))


def _path(encoded: str) -> Path | None:
    if encoded == MEMORY:
        return None
    if not encoded or encoded.endswith("/"):
        raise DsnRefused("names a folder and no file", f"Add a file name, for example {EXAMPLE}.")
    if "?" in encoded:
        raise DsnRefused(
            "has options after a question mark, and SQLite takes none here",
            "Leave them out; a question mark that belongs to the file's name is written %3F.",
        )
    raw = unquote_to_bytes(encoded)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise DsnRefused("is not UTF-8 once it is percent-decoded", "Write the path in UTF-8.") from None
    if "\0" in text:
        raise DsnRefused("has a null character in its path", "Leave it out.")
    return Path(text)


def _no_url(dsn: str) -> DsnRefused:
    if "@tcp(" in dsn or "@unix(" in dsn:
        return _server("MySQL")
    return DsnRefused("is not a URL", f"Write it as {EXAMPLE}.")


def _other_scheme(scheme: str) -> DsnRefused:
    if server := SERVERS.get(scheme.partition("+")[0]):
        return _server(server)
    if did_you_mean(scheme, ["sqlite"]):
        return DsnRefused("has a misspelt scheme", f"Did you mean sqlite://? Write it as {EXAMPLE}.")
    return DsnRefused("names a kind of database that is not known", f"This version speaks SQLite: {EXAMPLE}.")


def _server(name: str) -> DsnRefused:
    return DsnRefused(
        f"names a {name} server, and this version of eggycore-db speaks SQLite only",
        f"Use an SQLite file for now, for example {EXAMPLE}.",
    )
