"""What the log says of a server that is away: a line when it goes and one when it is back, none for each request."""

from __future__ import annotations

from functools import partial

from eggycore import log
from eggycore_cache.breaker import Breaker

__all__ = ["log_outages"]


def log_outages(server: str, breaker: Breaker) -> None:
    """Have every change of this breaker logged.

    Args:
        server: Host and port, without user and password.
        breaker: That of the server.
    """
    breaker.changed = partial(_log, server, breaker)


def _log(server: str, breaker: Breaker) -> None:
    if breaker.state == "closed":
        log.info("cache server answers again", server=server)
    else:
        log.warn("cache server does not answer and is left alone for a while", server=server, reason=breaker.reason)
