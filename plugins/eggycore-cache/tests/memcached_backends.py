"""Memcached backends for tests, opened and closed again: patient, and impatient where a test breaks servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager

import pytest

from eggycore_cache.breaker import Breaker
from eggycore_cache.memcached import MemcachedBackend
from eggycore_cache.memcached_server import Options
from tests.servers import MemcachedServer, Proxy
from tests.servers import memcached_server as started_server

__all__ = ["PATIENT", "at", "backend_of", "patient_backend_of", "quick", "server", "three", "until"]

PATIENT = Options(timeout=10, connect_timeout=10)

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
async def backend_of(
    *addresses: tuple[str, int], namespace: str = "app", options: Options | None = None
) -> AsyncIterator[MemcachedBackend]:
    """A backend on these servers; a quick one, unless options are given."""
    backend = MemcachedBackend(addresses, namespace=namespace, options=options or quick())
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def patient_backend_of(
    *servers: MemcachedServer, namespace: str = "app", options: Options = PATIENT
) -> AbstractAsyncContextManager[MemcachedBackend]:
    """A backend on these servers that waits for a busy machine."""
    return backend_of(*map(at, servers), namespace=namespace, options=options)


@pytest.fixture
def server() -> Iterator[MemcachedServer]:
    """A server that the test may break."""
    with started_server() as started:
        yield started


@pytest.fixture
def three() -> Iterator[list[MemcachedServer]]:
    """Three of them."""
    with ExitStack() as stack:
        yield [stack.enter_context(started_server()) for _ in range(3)]


def at(server: MemcachedServer | Proxy) -> tuple[str, int]:
    """Where it listens."""
    return server.host, server.port


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.005)
