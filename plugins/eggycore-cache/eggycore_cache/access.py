"""How the servers of a cache are reached: what a reload may change while connections stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore.config import Secret
    from eggycore_cache.tls import Tls

__all__ = ["Access"]


@dataclass(frozen=True, kw_only=True)
class Access:
    """How servers are reached.

    Args:
        user: Who signs in, "" for nobody.
        password: Their password.
        tls: How connections are encrypted, None for not at all.
        timeout: Seconds that an answer may take.
        connect_timeout: Seconds that a connection may take.
    """

    user: str = ""
    password: Secret[str] | None = None
    tls: Tls | None = None
    timeout: float = 0.5
    connect_timeout: float = 1.0
