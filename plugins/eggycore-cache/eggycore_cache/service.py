"""`CacheService`: bytes by key, with expiry, whatever keeps them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from eggycore_cache.errors import BadValue
from eggycore_cache.keys import NAMESPACE, check_key

if TYPE_CHECKING:
    from eggycore_cache.backend import Backend
    from eggycore_cache.instruments import Instruments

__all__ = ["CacheService"]


class CacheService:
    """A cache. Its methods may be called by any number of tasks of its event loop.

    Keys are texts without spaces and control characters; values are bytes. Anything may be gone at any moment.

    Args:
        backend: What keeps the values.
        namespace: Put before every key, so that several apps can share a server: letters, digits, ".", "_", "-".
        ttl: Seconds that a value is kept unless `set` says otherwise; None for no end.
        instruments: Where hits and misses are counted.

    Raises:
        ValueError: The namespace has other characters, or the ttl is not above 0.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        namespace: str = "",
        ttl: float | None = None,
        instruments: Instruments | None = None,
    ) -> None:
        if not NAMESPACE.fullmatch(namespace):
            raise ValueError(f"namespace {namespace!r} is not made of at most 64 letters, digits and . _ -")
        self._backend = backend
        self._prefix = f"{namespace}:" if namespace else ""
        self._ttl = _checked(ttl)
        self._instruments = instruments

    async def get(self, key: str) -> bytes | None:
        """The value, or None when there is none.

        Raises:
            BadKey: The key is not a text, is empty, or has a space or control character in it.
        """
        value = await self._backend.get(self._full(key))
        if self._instruments:
            if value is None:
                self._instruments.miss()
            else:
                self._instruments.hit()
        return value

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep a value in place of what was there.

        Args:
            key: Its key.
            value: Bytes.
            ttl: Seconds to keep it, above 0; `math.inf` for no end; None for the cache's default.

        Raises:
            BadKey: As in `get`.
            BadValue: The value is not bytes.
            ValueTooLarge: It does not fit into the cache.
            ValueError: The ttl is not above 0.
        """
        full = self._full(key)
        if not isinstance(value, bytes):
            raise BadValue(key, type(value).__name__)
        await self._backend.set(full, value, self._ttl if ttl is None else _checked(ttl))

    async def delete(self, key: str) -> bool:
        """Forget a value; whether there was one.

        Raises:
            BadKey: As in `get`.
        """
        return await self._backend.delete(self._full(key))

    async def exists(self, key: str) -> bool:
        """Whether there is a value. Counts neither as a hit nor as a use.

        Raises:
            BadKey: As in `get`.
        """
        return await self._backend.exists(self._full(key))

    async def ping(self) -> None:
        """Return when the cache answers; raise otherwise."""
        await self._backend.ping()

    async def close(self) -> None:
        """Let go of the backend. Idempotent."""
        await self._backend.close()

    def _full(self, key: str) -> str:
        check_key(key)
        return self._prefix + key


def _checked(ttl: float | None) -> float | None:
    """The ttl as backends take it: None for no end."""
    if ttl is None or ttl == math.inf:
        return None
    if not ttl > 0:
        raise ValueError(f"ttl is {ttl} and must be above 0 seconds (math.inf for no end)")
    return ttl
