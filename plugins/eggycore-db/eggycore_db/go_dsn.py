"""Reads the DSN of Go's MySQL driver: `user:password@tcp(host:3306)/name?charset=utf8mb4&parseTime=True`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_plus

from eggycore_db.dsn_refused import DsnRefused
from eggycore_db.server_parts import decoded, server_target, split_address
from eggycore_db.targets import ServerTarget

__all__ = ["is_go_dsn", "parse_go_dsn"]

EXAMPLE = "user:password@tcp(host:3306)/name"
DEFAULT_SOCKET = "/tmp/mysql.sock"  # noqa: S108  # where the Go driver looks
_NETWORKS = ("", "tcp", "tcp4", "tcp6")

_WITH_ADDRESS = re.compile(r"(^|@)\w*\(", re.ASCII)
_WITHOUT_ADDRESS = re.compile(r"@[^@/]*/[^/]*\Z")


def is_go_dsn(dsn: str) -> bool:
    """Whether the text, which has no known scheme, is meant to be a DSN of this form."""
    return bool(_WITH_ADDRESS.search(dsn) or _WITHOUT_ADDRESS.search(dsn))


def parse_go_dsn(dsn: str) -> ServerTarget:
    """The database that the DSN names, by the rules of go-sql-driver/mysql.

    The last slash ends the part with user, password and host; the last @ in it ends the password, which the first
    colon begins. User and password stand for themselves and may hold any character; the database's name is
    percent-decoded, and so are the options.

    Raises:
        DsnRefused: It does not parse.
    """
    left, slash, right = dsn.rpartition("/")
    if not slash:
        raise DsnRefused(
            "has no slash before the name of its database",
            "It has the form of the Go driver, which wants one even where no name follows.",
            f"Write it as {EXAMPLE}.",
        )
    credentials, _, place = left.rpartition("@")
    user, _, password = credentials.partition(":")
    network, address = _network_and_address(place)
    name, _, query = right.partition("?")
    host, port, socket = "", "", ""
    if network == "unix":
        socket = address or DEFAULT_SOCKET
    else:
        host, port = _host_and_port(address)
    options = [*_options(query), *([("unix_socket", socket)] if socket else [])]
    return server_target(
        "mysql",
        user=user,
        password=password,
        host=host,
        port=port,
        name=decoded(name, "name"),
        options=options,
        default_host="127.0.0.1",
    )


def _network_and_address(place: str) -> tuple[str, str]:
    network, opened, rest = place.partition("(")
    if opened and not rest.endswith(")"):
        if ")" in rest:
            raise DsnRefused(
                "has a slash in an option",
                "The last slash of this form comes before the name of the database.",
                "Write a slash in an option as %2F, as in loc=Europe%2FBerlin.",
            )
        raise DsnRefused(
            "has a bracket after its host that is not closed",
            "In the form of the Go driver the host stands in brackets.",
            f"Write it as {EXAMPLE}.",
        )
    if network not in (*_NETWORKS, "unix"):
        raise DsnRefused(
            "does not say tcp or unix before its host",
            "In the form of the Go driver the host stands in brackets after the name of a network.",
            f"Write it as {EXAMPLE}, or as mysql://user:password@host:3306/name.",
        )
    return network, rest.removesuffix(")")


def _host_and_port(address: str) -> tuple[str, str]:
    if address.count(":") > 1 and not address.startswith("["):
        return address, ""  # an IPv6 address without brackets has no port
    return split_address(address)


def _options(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if equals:  # the driver passes over the others
            decoded(value, "options")
            yield name, unquote_plus(value)
