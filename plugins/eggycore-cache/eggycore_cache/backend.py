"""What a cache server, or the memory of this process, does for `CacheService`."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Backend"]


class Backend(Protocol):
    """Keeps bytes by key for a while. Keys have been checked and carry their namespace.

    What is kept may vanish at any moment, to make room or because a server restarted; it is never kept beyond its
    time to live.
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or None when there is none."""

    async def set(self, key: str, value: bytes, ttl: float | None) -> None:
        """Keep a value for `ttl` seconds, or without an end."""

    async def delete(self, key: str) -> bool:
        """Forget a value; whether there was one."""

    async def exists(self, key: str) -> bool:
        """Whether there is a value. Does not count as a use of it."""

    async def ping(self) -> None:
        """Return when the cache answers; raise otherwise."""

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
