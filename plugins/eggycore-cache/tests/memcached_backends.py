"""Memcached backends for tests that break servers: impatient, opened and closed again, and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from eggycore_cache.breaker import Breaker
from eggycore_cache.memcached import MemcachedBackend
from eggycore_cache.memcached_server import Options
from tests.servers import MemcachedServer, Proxy

__all__ = ["at", "backend_of", "quick", "until"]

PATIENCE = 20.0
"""Seconds until a condition must hold."""


def quick(threshold: int = 2, timeout: float = 0.15) -> Options:
    """A backend that notices fast and looks again soon."""
    return Options(
        timeout=timeout,
        connect_timeout=0.3,
        breaker=lambda: Breaker(threshold=threshold, cooldown=0.05, max_cooldown=0.1),
    )


@asynccontextmanager
async def backend_of(*addresses: tuple[str, int], options: Options | None = None) -> AsyncIterator[MemcachedBackend]:
    """A backend of the namespace "app" on these servers."""
    backend = MemcachedBackend(addresses, namespace="app", options=options or quick())
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def at(server: MemcachedServer | Proxy) -> tuple[str, int]:
    """Where it listens."""
    return server.host, server.port


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.005)
