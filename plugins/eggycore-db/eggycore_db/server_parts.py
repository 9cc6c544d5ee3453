"""Puts a `ServerTarget` together from the parts of a DSN, whichever form the DSN has."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_to_bytes

from eggycore.config import Secret
from eggycore_db.dsn_options import read_options, read_tls
from eggycore_db.dsn_refused import DsnRefused
from eggycore_db.targets import DEFAULT_PORTS, ServerKind, ServerTarget

__all__ = ["decoded", "server_target", "split_address"]

_HOST = re.compile(r"[\w-]+(\.[\w-]+)*\.?")
_PORT = re.compile(r"\d{1,5}", re.ASCII)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODE = (
    "Percent-encode what has a meaning in a DSN, in the password above all: @ is %40, : is %3A, / is %2F, % is %25."
)


def server_target(
    kind: ServerKind,
    *,
    user: str = "",
    password: str = "",
    host: str = "",
    port: str = "",
    name: str = "",
    options: Iterable[tuple[str, str]] = (),
    default_host: str = "localhost",
    default_port: int | None = None,
) -> ServerTarget:
    """A target from parts that are decoded already. Of options given twice the last counts.

    Args:
        kind: The protocol.
        user: Who connects; "" leaves it to the driver.
        password: Their password, "" for none.
        host: Name, address without brackets, or for PostgreSQL the folder of a socket.
        port: TCP port, as text.
        name: The database's name.
        options: Names and values; those of PostgreSQL may hold every other part, as in libpq, and override it.
        default_host: The host when none is given.
        default_port: The port when none is given; that of the kind when None.

    Raises:
        DsnRefused: A part cannot be what it is, or is missing.
    """
    given = dict(options)
    extra, tls = read_options(kind, given), read_tls(kind, given)
    if kind == "postgresql":
        host, port = given.get("host", host), given.get("port", port)
        name, user, password = given.get("dbname", name), given.get("user", user), given.get("password", password)
    socket = given.get("unix_socket", "") if kind == "mysql" else host if host.startswith("/") else ""
    if "\0" in "".join((user, password, host, name, socket, *extra.values())):
        raise DsnRefused("has a null character in it", "No server takes one.", "Leave it out.")
    return ServerTarget(
        kind=kind,
        host="" if socket else _host(host or default_host),
        port=_port(port) if port else default_port or DEFAULT_PORTS[kind],
        name=_name(name),
        user=user,
        password=Secret(password) if password else None,
        socket=_socket(socket) if socket else None,
        tls=tls,
        options=extra,
    )


def split_address(address: str) -> tuple[str, str]:
    """Host and port, as text, of `host`, `host:port`, `[address]` or `[address]:port`; "" for what is not there.

    Raises:
        DsnRefused: A bracket is not closed.
    """
    if address.startswith("["):
        host, closed, rest = address[1:].partition("]")
        if not closed or not _is_ipv6(host) or (rest and not rest.startswith(":")):
            raise DsnRefused(
                "has brackets around something that is no IPv6 address",
                "Brackets in the place of the host hold an IPv6 address.",
                f"Write it as [::1]:5432. {_ENCODE}",
            )
        return host, rest.removeprefix(":")
    host, _, port = address.rpartition(":") if ":" in address else (address, "", "")
    return host, port


def decoded(text: str, what: str) -> str:
    """The text with its percent-encoding undone.

    Args:
        text: The text.
        what: What it is, for the refusal: "user".

    Raises:
        DsnRefused: A percent sign is followed by something else than two digits, or the outcome is not UTF-8.
    """
    if _BAD_PERCENT.search(text):
        raise DsnRefused(
            f"has a percent sign in its {what} that stands for nothing",
            "A percent sign begins the code of a character: two hexadecimal digits follow it.",
            "Write a percent sign that stands for itself as %25.",
        )
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise DsnRefused(
            f"has a {what} that is not UTF-8 once it is percent-decoded",
            "Percent-encoding stands for the bytes of UTF-8.",
            f"Encode the {what} from UTF-8.",
        ) from None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _host(text: str) -> str:
    if "," in text:
        raise DsnRefused(
            "names several hosts",
            "One pool of connections goes to one server.",
            "Name one here, and the replicas that may be read in DATABASE_REPLICA_DSNS.",
        )
    if not _HOST.fullmatch(text) and not _is_ipv6(text):
        raise DsnRefused(
            "has a host that is neither a name nor an address",
            "A host is made of letters, digits, hyphens, underscores and dots, or is an IPv6 address in brackets.",
            _ENCODE,
        )
    return text


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise DsnRefused(
            "has a port that is not a number from 1 to 65535",
            "What follows the colon after the host is the port, unless the colon belongs to the password.",
            _ENCODE,
        )
    return int(text)


def _name(text: str) -> str:
    if not text:
        raise DsnRefused(
            "names no database",
            "A server has many databases, and none is the default.",
            "Add its name, as in postgresql://user@host/orders or user@tcp(host:3306)/orders.",
        )
    if not text.isprintable():
        raise DsnRefused(
            "has a line break or another control character in the name of its database",
            "It was perhaps copied from a file together with the end of its line.",
            "Leave it out.",
        )
    return text


def _socket(text: str) -> Path:
    if not text.startswith("/"):
        raise DsnRefused(
            "has a Unix socket that is no absolute path",
            "A socket is found by its path from the root.",
            "Write it as /run/mysqld/mysqld.sock.",
        )
    return Path(text)
