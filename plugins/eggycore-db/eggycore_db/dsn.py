"""Reads a DATABASE_DSN. What a DSN holds may be a password, so no message ever repeats a part of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from eggycore.diagnostics import nearest
from eggycore_db.dsn_refused import DsnRefused
from eggycore_db.go_dsn import is_go_dsn, parse_go_dsn
from eggycore_db.keyword_dsn import is_keyword_dsn, may_be_keyword_dsn, parse_keyword_dsn
from eggycore_db.server_parts import decoded, server_target, split_address
from eggycore_db.targets import MEMORY, ServerKind, ServerTarget, SqliteTarget, Target

__all__ = ["DsnRefused", "parse_dsn"]

EXAMPLE = "sqlite:///eggycore.db"
EXAMPLES = f"{EXAMPLE}, postgresql://user:password@host/name or mysql://user:password@host/name"

_SERVERS: Final[dict[str, tuple[ServerKind, int | None]]] = {
    "mariadb": ("mysql", None),
    "mysql": ("mysql", None),
    "postgres": ("postgresql", None),
    "postgresql": ("postgresql", None),
    "tidb": ("mysql", 4000),
}
"""Kind and default port, None for that of the kind, of each scheme."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_GO_PLACE = re.compile(r"@(tcp|unix)\w*\(", re.ASCII)


def parse_dsn(dsn: str) -> Target:
    """The database that a DSN names.

    Args:
        dsn: One of

            - `sqlite:///file.db` (relative), `sqlite:////folder/file.db` (absolute) or `sqlite:///:memory:`,
            - `postgresql://user:password@host:5432/name?sslmode=verify-full`, also `postgres://`,
            - `mysql://user:password@host:3306/name?tls=true`, also `mariadb://` and `tidb://`,
            - `user:password@tcp(host:3306)/name?charset=utf8mb4`, as Go's MySQL driver has it,
            - `host=localhost user=me password='a b' dbname=name`, as libpq has it.

            Every part of a URL is percent-decoded. What follows a plus sign in a scheme is passed over.

    Raises:
        DsnRefused: It names another kind of database or does not parse.
    """
    scheme, separator, rest = dsn.partition("://")
    base = scheme.lower().partition("+")[0] if separator and _SCHEME.match(scheme) else ""
    if base == "sqlite":
        return _sqlite(rest)
    if base in _SERVERS:
        return _server(base, rest)
    if is_keyword_dsn(dsn):
        return parse_keyword_dsn(dsn)
    if is_go_dsn(dsn) and (not base or (_GO_PLACE.search(rest) and not _near_scheme(base))):
        return parse_go_dsn(dsn)
    if may_be_keyword_dsn(dsn):
        return parse_keyword_dsn(dsn)
    raise _unknown(base)


def _sqlite(rest: str) -> SqliteTarget:
    if not rest.startswith("/"):
        raise DsnRefused(
            "has no file after its slashes" if not rest else "has two slashes before its file",
            "SQLite is in this process, so there is no host between the second slash and the third.",
            f"Write three for a relative path ({EXAMPLE}) and four for an absolute one (sqlite:////var/lib/eggycore.db).",
        )
    return SqliteTarget(path=_path(rest.removeprefix("/")))


def _path(encoded: str) -> Path | None:
    if encoded == MEMORY:
        return None
    if not encoded or encoded.endswith("/"):
        raise DsnRefused(
            "names a folder and no file", "An SQLite database is a file.", f"Add a file name, for example {EXAMPLE}."
        )
    if "?" in encoded:
        raise DsnRefused(
            "has options after a question mark",
            "SQLite takes none here.",
            "Leave them out; a question mark that belongs to the file's name is written %3F.",
        )
    try:
        text = unquote_to_bytes(encoded).decode()
    except UnicodeError:
        raise DsnRefused(
            "is not UTF-8 once it is percent-decoded",
            "Percent-encoding stands for the bytes of UTF-8.",
            "Write the path in UTF-8.",
        ) from None
    if "\0" in text:
        raise DsnRefused("has a null character in its path", "No file has one in its name.", "Leave it out.")
    return Path(text)


def _server(scheme: str, rest: str) -> ServerTarget:
    kind, default_port = _SERVERS[scheme]
    if kind == "mysql" and _GO_PLACE.search(rest):
        raise DsnRefused(
            "mixes a URL with the form of the Go driver",
            "In a URL the password is percent-encoded and in the other form it is not, so it could mean two things.",
            "Write mysql://user:password@host:3306/name, or user:password@tcp(host:3306)/name without the scheme.",
        )
    credentials, rest = _credentials(rest)
    address, path, query = _split(rest)
    user, _, password = credentials.partition(":")
    host, port = split_address(address)
    return server_target(
        kind,
        user=decoded(user, "user"),
        password=decoded(password, "password"),
        host=decoded(host, "host"),
        port=decoded(port, "port"),
        name=decoded(path, "name"),
        options=_options(query),
        default_port=default_port,
    )


def _credentials(rest: str) -> tuple[str, str]:
    """User and password, and what follows them: they end at the last @ before the first slash.

    As in libpq a question mark before the first @ belongs to them, so that the options begin after it.
    """
    head = rest.partition("/")[0]
    options = head.find("?", max(head.find("@"), 0))
    end = head.rfind("@", 0, options if options >= 0 else None)
    return rest[: max(end, 0)], rest[end + 1 :]


def _split(rest: str) -> tuple[str, str, str]:
    """Address, path without its slash, and options."""
    place, _, query = rest.partition("?")
    address, _, path = place.partition("/")
    if "@" in path or "/" in path:
        # Likely a password with a slash in it: what looks like the host would be the user, and the path would be shown.
        raise DsnRefused(
            "has a slash or an @ in the name of its database",
            "Either the name has one, or the user or the password has, and what follows it was taken for the name.",
            "Percent-encode it: a slash is %2F, and @ is %40.",
        )
    return address, path, query


def _options(query: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if not equals:
            raise DsnRefused(
                "has an option without a value",
                "What follows the question mark are options, each with an equals sign and a value.",
                "Add the value, or write ? as %3F and & as %26 where it belongs to something else.",
            )
        yield decoded(name, "options"), decoded(value, "options")


def _near_scheme(scheme: str) -> str:
    return nearest(scheme, ["sqlite", *_SERVERS])


def _unknown(scheme: str) -> DsnRefused:
    if not scheme:
        return DsnRefused(
            "has none of the forms that are known",
            "It is no URL, and neither what Go's MySQL driver nor what libpq takes.",
            f"Write it as {EXAMPLES}.",
        )
    if near := _near_scheme(scheme):
        return DsnRefused(
            "has a misspelt scheme",
            "What stands before :// names the kind of database.",
            f"Did you mean {near}://? Write it as {EXAMPLES}.",
        )
    return DsnRefused(
        "names a kind of database that is not known",
        "The kinds are SQLite, PostgreSQL, and MySQL with MariaDB and TiDB.",
        f"Write it as {EXAMPLES}.",
    )
