"""Reads the keyword form of libpq: `host=localhost port=5432 user=me password='a b' dbname=forms`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from eggycore_db.dsn_refused import DsnRefused
from eggycore_db.server_parts import server_target
from eggycore_db.targets import ServerTarget

__all__ = ["is_keyword_dsn", "may_be_keyword_dsn", "parse_keyword_dsn"]

EXAMPLE = "host=localhost port=5432 user=me password='a b' dbname=forms"

_SPACE = r"[ \t\n\r\f\v]*"
_FIRST = re.compile(rf"{_SPACE}(\w+){_SPACE}=", re.ASCII)
_COMMON = frozenset(
    {"application_name", "connect_timeout", "dbname", "host", "hostaddr", "password", "port", "sslmode", "user"}
)
_NAME = r"(?P<name>[^ \t\n\r\f\v=]+)"
_QUOTED = r"'(?P<quoted>(?:[^'\\]|\\.)*)'"
_PLAIN = r"(?P<plain>(?!')(?:[^ \t\n\r\f\v\\]|\\.|\\\Z)*)"
_PAIR = re.compile(rf"{_SPACE}{_NAME}{_SPACE}={_SPACE}(?:{_QUOTED}|{_PLAIN})", re.DOTALL)
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)


def is_keyword_dsn(dsn: str) -> bool:
    """Whether the text begins with a well-known keyword and an equals sign."""
    return bool((first := _FIRST.match(dsn)) and first[1] in _COMMON)


def may_be_keyword_dsn(dsn: str) -> bool:
    """Whether the text begins with a word and an equals sign."""
    return bool(_FIRST.match(dsn))


def parse_keyword_dsn(dsn: str) -> ServerTarget:
    r"""The PostgreSQL database that the DSN names, by the rules of libpq.

    Pairs are separated by spaces. A value that is empty or has spaces in it stands in single quotes; a single quote or
    a backslash in a value has a backslash before it. Spaces around the equals sign do not count.

    Raises:
        DsnRefused: It does not parse.
    """
    return server_target("postgresql", options=_pairs(dsn))


def _pairs(dsn: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(dsn.rstrip(" \t\n\r\f\v"))
    while position < end:
        match = _PAIR.match(dsn, position)
        if match is None:
            raise DsnRefused(
                "has a keyword without a value, or a quote that is not closed",
                "In the form of libpq each keyword has an equals sign and a value, in single quotes where there is a "
                "space in it.",
                f"Write it as {EXAMPLE}, with a backslash before each ' and \\ of a value.",
            )
        quoted = match["quoted"]
        yield match["name"], _ESCAPED.sub(r"\1", quoted if quoted is not None else match["plain"])
        position = match.end()
