"""A backend whose servers are down: nothing is answered, and `ping` says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from eggycore_cache.access import Access
from eggycore_cache.backend import NO_ANSWER, BackendStats, NoAnswer, Reply, ServerStats
from eggycore_cache.errors import CacheDown

__all__ = ["DownBackend"]


class DownBackend:
    """Two servers; of the first it is known that it refuses connections."""

    kind: Literal["memcached"] = "memcached"
    available = False

    def __init__(self) -> None:
        self.access: Access | None = None

    async def open(self) -> None:
        return None

    async def get(self, key: str, *, timeout: float | None = None) -> Reply:
        return NO_ANSWER

    async def get_many(self, keys: Sequence[str], *, timeout: float | None = None) -> list[Reply]:
        return [NO_ANSWER for _ in keys]

    async def set(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool:
        return False

    async def set_many(
        self, items: Mapping[str, bytes], ttl: float | None, *, timeout: float | None = None
    ) -> frozenset[str]:
        return frozenset(items)

    async def add(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> NoAnswer:
        return NO_ANSWER

    async def incr(self, key: str, amount: int, ttl: float | None, *, timeout: float | None = None) -> NoAnswer:
        return NO_ANSWER

    async def touch(self, key: str, ttl: float | None, *, timeout: float | None = None) -> NoAnswer:
        return NO_ANSWER

    async def delete(self, key: str, *, timeout: float | None = None) -> NoAnswer:
        return NO_ANSWER

    async def delete_many(self, keys: Sequence[str], *, timeout: float | None = None) -> NoAnswer:
        return NO_ANSWER

    async def exists(self, key: str, *, timeout: float | None = None) -> NoAnswer:
        return NO_ANSWER

    async def clear_prefix(self, prefix: str, *, timeout: float | None = None) -> bool:
        return False

    async def ping(self) -> None:
        raise CacheDown(server="m1:11211", reason="refused the connection")

    async def stats(self) -> BackendStats:
        return BackendStats(
            entries=5,
            bytes=50,
            evictions=7,
            servers=(
                ServerStats(server="m1:11211", state="open", errors=3, reason="refused the connection"),
                ServerStats(server="m2:11211", state="closed"),
            ),
        )

    def set_access(self, access: Access) -> None:
        self.access = access

    async def close(self) -> None:
        return None
