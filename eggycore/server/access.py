"""Who may see more than a probe tells: bearers of the management token, and outside Kubernetes the loopback."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest
from ipaddress import ip_address
from typing import TYPE_CHECKING

from eggycore.config.facts import in_kubernetes
from eggycore.config.secret import Secret

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Access"]

_FORWARDING = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class Access:
    """Decides about one request at a time, by what it brings and where it comes from.

    Args:
        token: The management token; None or an empty one lets nobody in.
        environ: The process environment, which tells whether this is a pod: in a mesh a stranger arrives from the
            loopback, so there it is not trusted.
    """

    def __init__(self, token: Secret[str] | None, environ: Mapping[str, str]) -> None:
        self._token = token
        self._trusts_loopback = not in_kubernetes(environ)

    @property
    def has_token(self) -> bool:
        """Whether there is a token that somebody could bear."""
        return bool(self._token)

    def may_see_details(self, request: web.Request) -> bool:
        """Whether the answer may hold more than is for everybody."""
        return self.bears_token(request) or (self._trusts_loopback and _comes_from_loopback(request))

    def bears_token(self, request: web.Request) -> bool:
        """Whether the request brings the token: `Authorization: Bearer ...`."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        wanted = self._token.reveal() if self._token else ""
        return (
            bool(wanted)
            and scheme.lower() == "bearer"
            and compare_digest(given.strip().encode("utf-8", "surrogateescape"), wanted.encode())
        )


def _comes_from_loopback(request: web.Request) -> bool:
    """Whether a process of this machine asks for itself: no proxy in between, and no web page by DNS rebinding."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not isinstance(peer, tuple) or not _is_loopback(peer[0]):
        return False
    return _is_loopback(_host_of(request)) and not any(name in request.headers for name in _FORWARDING)


def _host_of(request: web.Request) -> str:
    host = request.host
    return host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
