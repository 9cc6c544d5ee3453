"""What was asked of a cache, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eggycore_cache.backend import BackendStats, ServerStats

if TYPE_CHECKING:
    from eggycore_cache.instruments import Instruments

__all__ = ["CacheStats", "stats_of"]


@dataclass(frozen=True, kw_only=True)
class CacheStats:
    """What was asked of the cache in this process, and what the cache holds.

    Args:
        hits: Values that were found, local and stale ones too.
        misses: Values that were not there.
        errors: What was not answered, and values that could not be read any more.
        local_hits: Hits in this process in front of a server.
        stale_hits: Hits past their time, served while a new value was made.
        entries: Values in the cache, None when that cannot be told; of a server, perhaps those of other apps too.
        bytes: Of their keys and values, likewise.
        evictions: Values put out to make room, likewise.
        servers: The servers as this process sees them.
    """

    hits: int
    misses: int
    errors: int
    local_hits: int
    stale_hits: int
    entries: int | None
    bytes: int | None
    evictions: int | None
    servers: tuple[ServerStats, ...] = ()

    @property
    def hit_rate(self) -> float | None:
        """Hits of all that was asked and answered, from 0 to 1; None before anything was."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


def stats_of(counts: Instruments, holds: BackendStats) -> CacheStats:
    """Both together."""
    local, stale = int(counts.local_hits.value), int(counts.stale_hits.value)
    return CacheStats(
        hits=int(counts.hits.value) + local + stale,
        misses=int(counts.misses.value),
        errors=int(counts.errors.value),
        local_hits=local,
        stale_hits=stale,
        entries=holds.entries,
        bytes=holds.bytes,
        evictions=holds.evictions,
        servers=holds.servers,
    )
