"""How many connections a pool has, and how long anything may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PoolLimits"]


@dataclass(frozen=True, kw_only=True)
class PoolLimits:
    """How many connections, and how long anything may take. Times are in seconds; 0 means no limit.

    Args:
        max_open: The most connections.
        max_idle: The most connections kept while nothing uses them, as seen at every `idle_check`.
        min_open: The least connections, once open.
        lifetime: Age at which a connection is replaced, up to a tenth sooner.
        idle_time: Time without use after which a connection is closed.
        idle_check: Time between looks at idle connections.
        acquire_timeout: How long work waits for a connection.
        query_timeout: How long one unit of work may take; its connection is cut then.
    """

    max_open: int = 100
    max_idle: int = 10
    min_open: int = 0
    lifetime: float = 0.0
    idle_time: float = 0.0
    idle_check: float = 30.0
    acquire_timeout: float = 10.0
    query_timeout: float = 0.0
