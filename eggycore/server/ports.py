"""Listening sockets: bound by us, and a diagnosis when they cannot be. Nothing here needs aiohttp or grpc."""

from __future__ import annotations

import errno
import os
import socket
import sys
from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError
from eggycore.server.holder import Holder, port_holder
from eggycore.server.stopped import Stopped

__all__ = [
    "CannotListen",
    "HostNotHere",
    "HostUnknown",
    "PortForbidden",
    "PortTaken",
    "Stopped",
    "bind_error",
    "bind_port",
]


@dataclass(eq=False)
class PortTaken(EggycoreError):
    """Another process listens on the port.

    Args:
        port: The port.
        setting: The variable that names it: "BUSINESS_HTTP_PORT".
        host: The address that was to be listened on.
        holder: The process that has it, where the system tells.
    """

    port: int
    setting: str
    host: str = ""
    holder: Holder | None = None


@dataclass(eq=False)
class PortForbidden(EggycoreError):
    """This user may not listen on the port."""

    port: int
    setting: str


@dataclass(eq=False)
class HostUnknown(EggycoreError):
    """The name to listen on stands for no address."""

    host: str
    reason: str


@dataclass(eq=False)
class HostNotHere(EggycoreError):
    """The address to listen on belongs to another machine, or to none."""

    host: str


@dataclass(eq=False)
class CannotListen(EggycoreError):
    """Listening failed for another reason."""

    host: str
    port: int
    setting: str
    reason: str


@diagnose.register
def _(error: PortTaken) -> Diagnosis:
    holder = error.holder
    if holder is None:
        cause = "The system does not tell which process has it."
        action = f"Find it with `{_find_command(error.port)}` and stop it, or set {error.setting} to another port."
    elif holder.pid == os.getpid():
        cause = "This very process listens there already."
        action = f"Set {error.setting} to a port of its own."
    else:
        cause = f"Process {holder.pid} listens there: {holder.command}"
        action = f"Stop it with `kill {holder.pid}`, or set {error.setting} to another port."
    return Diagnosis(description=f"Port {error.port} ({error.setting}) is already in use.", cause=cause, action=action)


@diagnose.register
def _(error: PortForbidden) -> Diagnosis:
    return Diagnosis(
        description=f"Port {error.port} ({error.setting}) may not be listened on by this user.",
        cause="Ports below 1024 are reserved for root, unless the system allows them.",
        action=f"Set {error.setting} to a port from 1024 up, and let the balancer or Service map {error.port} to it.",
    )


@diagnose.register
def _(error: HostUnknown) -> Diagnosis:
    return Diagnosis(
        description=f"The host {error.host!r} (BIND_HOST) is not known.",
        cause=f"Its address cannot be found: {error.reason}.",
        action="Set BIND_HOST to 127.0.0.1 for this machine alone, or to 0.0.0.0 for every network it is on.",
    )


@diagnose.register
def _(error: HostNotHere) -> Diagnosis:
    return Diagnosis(
        description=f"The host {error.host!r} (BIND_HOST) is not an address of this machine.",
        action="Set BIND_HOST to 127.0.0.1 for this machine alone, or to 0.0.0.0 for every network it is on.",
    )


@diagnose.register
def _(error: CannotListen) -> Diagnosis:
    return Diagnosis(
        description=f"Nothing can listen on {error.host}:{error.port} ({error.setting}).",
        cause=f"The system says: {error.reason}.",
        action=f"Set {error.setting} or BIND_HOST to something the system allows.",
    )


def bind_port(host: str, port: int, setting: str) -> list[socket.socket]:
    """Sockets bound to every address of the host, all on the same port. They do not listen yet; the caller closes them.

    Args:
        host: Address or name; "" for every IPv4 address.
        port: TCP port; 0 for any free one.
        setting: The variable that names the port, for messages.

    Raises:
        PortTaken, PortForbidden, HostUnknown, HostNotHere, CannotListen: It cannot be listened on.
    """
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in _addresses(host, port):
            try:
                bound.append(_bound(family, (address, bound[0].getsockname()[1] if bound else port)))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error  # "localhost" may stand for ::1 where IPv6 is switched off
        if not bound and missing is not None:
            raise missing
    except OSError as error:
        for one in bound:
            one.close()
        raise _error(error, host, port, setting) from None
    return bound


def bind_error(host: str, port: int, setting: str) -> EggycoreError:
    """Why this port cannot be listened on: for servers that bind on their own and say less when it fails."""
    try:
        bound = bind_port(host, port, setting)
    except EggycoreError as error:
        return error
    for one in bound:
        one.close()
    return CannotListen(host, port, setting, "it failed, and succeeded when it was tried again")


def _error(error: OSError, host: str, port: int, setting: str) -> EggycoreError:
    if isinstance(error, socket.gaierror):
        return HostUnknown(host, error.strerror or str(error))
    if error.errno == errno.EADDRINUSE:
        return PortTaken(port, setting, host, port_holder(port))
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortForbidden(port, setting)
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return HostNotHere(host)
    return CannotListen(host, port, setting, error.strerror or str(error))


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104 - as asked
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bound(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows the option lets two processes share one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening


def _find_command(port: int) -> str:
    return f"ss -ltnp 'sport = :{port}'" if sys.platform == "linux" else f"lsof -nP -iTCP:{port} -sTCP:LISTEN"
