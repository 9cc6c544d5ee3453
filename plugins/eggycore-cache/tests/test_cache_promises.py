"""What is promised of values that change while they are made, on every kind of cache: the old one does not return."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from eggycore_cache import CacheService, Policy
from eggycore_cache.backend import NO_ANSWER, Backend
from eggycore_cache.memcached import MemcachedBackend
from eggycore_cache.memory import MemoryBackend
from eggycore_cache.redis_backend import RedisBackend
from eggycore_cache.targets import parse_url
from eggycore_cache.tiers import TieredBackend
from tests.servers import MemcachedServer
from tests.servers import memcached_server as started_memcached
from tests.servers import redis_server as started_redis

Make = Callable[[], Backend]


@pytest.fixture(params=["memory", "redis", "memcached", "redis-tiers", "memcached-tiers"])
def make(request: pytest.FixtureRequest, namespace: str, redis_url: str, memcached_server: MemcachedServer) -> Make:
    """Makes the backend of one process; those of several share a server, or the memory."""
    where = request.param.removesuffix("-tiers")
    if where == "memory":
        shared = memory()
        return lambda: shared

    def remote() -> Backend:
        if where == "redis":
            return RedisBackend(parse_url(redis_url), namespace=namespace, timeout=5)
        return MemcachedBackend([(memcached_server.host, memcached_server.port)], namespace=namespace)

    if where == request.param:
        return remote
    return lambda: TieredBackend(memory(), remote(), local_ttl=0.02)


@pytest.fixture
def namespace(redis_prefix: str) -> str:
    return redis_prefix.removesuffix(":")


def memory() -> MemoryBackend:
    return MemoryBackend(max_entries=10_000, max_bytes=10_000_000)


@asynccontextmanager
async def process(backend: Backend, namespace: str) -> AsyncIterator[CacheService]:
    service = CacheService(backend, namespace=namespace, policy=Policy(ttl_jitter=0))
    await service.open()
    try:
        yield service
    finally:
        await service.flights.close()
        await backend.close()


class Slowly:
    """A backend whose sets are done only once they are let: they come after whatever was asked meanwhile."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.asked = asyncio.Event()
        self.may = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def set(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool:
        self.asked.set()
        await self.may.wait()
        return await self._backend.set(key, value, ttl, timeout=timeout)


CHANGES: dict[str, Callable[[CacheService], Awaitable[object]]] = {
    "delete": lambda cache: cache.delete("form:7"),
    "delete_many": lambda cache: cache.delete_many(["form:7"]),
    "clear_prefix": lambda cache: cache.clear_prefix("form:"),
    "clear everything": lambda cache: cache.clear_prefix(""),
    "invalidate": lambda cache: cache.invalidate("forms"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_value_on_its_way_into_the_cache_is_dropped_by_a_change(
    make: Make, namespace: str, change: str
) -> None:
    backend: Any = Slowly(make())
    async with process(backend, namespace) as cache:
        caller = asyncio.ensure_future(cache.get_or_set("form:7", lambda: "old", 60, tags=["forms"]))
        await backend.asked.wait()
        await CHANGES[change](cache)
        backend.may.set()
        assert await caller == "old"
        assert await cache.get_or_set("form:7", lambda: "new", 60, tags=["forms"]) == "new"


@pytest.mark.parametrize("tagged", [True, False])
async def test_here_nobody_gets_what_was_made_before_a_change_that_is_over(
    make: Make, namespace: str, tagged: bool
) -> None:
    """Readers and writers of one process at random: whoever asks after a change sees it, or a later one."""
    dice = random.Random(7)
    truth = dict.fromkeys("abc", 0)
    told = dict.fromkeys("abc", 0)

    async with process(make(), namespace) as cache:

        async def factory(key: str) -> int:
            seen = truth[key]
            for _ in range(dice.randrange(6)):
                await asyncio.sleep(0)
            return seen

        async def reads(number: int) -> None:
            for _ in range(60):
                key, tags = dice.choice("abc"), []
                floor = told[key]
                if tagged:
                    tags = [f"tag:{key}"]
                seen = await cache.get_or_set(key, lambda key=key: factory(key), 0.001, stale=60, tags=tags)
                assert seen >= floor, (number, key)

        async def changes(number: int) -> None:
            for _ in range(40):
                key = dice.choice("abc")
                truth[key] += 1
                now = truth[key]
                if tagged:
                    assert await cache.invalidate(f"tag:{key}")
                elif dice.random() < 0.7:
                    await cache.delete(key)
                else:
                    assert await cache.clear_prefix(key)
                told[key] = max(told[key], now)
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for number in range(12):
                tasks.create_task(reads(number))
            for number in range(3):
                tasks.create_task(changes(number))


async def test_a_tag_that_was_invalidated_elsewhere_drops_what_is_being_made_here(make: Make, namespace: str) -> None:
    """Of several processes: who waits for it already gets it, it is not kept."""
    dice = random.Random(7)
    truth = 0
    async with AsyncExitStack() as stack:
        here, elsewhere = [await stack.enter_async_context(process(make(), namespace)) for _ in range(2)]

        async def factory() -> int:
            seen = truth
            for _ in range(dice.randrange(20)):
                await asyncio.sleep(0)
            return seen

        async def newest(cache: CacheService) -> int:
            return await cache.get_or_set("a", factory, 60, tags=["forms"])

        for _ in range(30):
            making = [asyncio.ensure_future(newest(here)) for _ in range(2)]
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)
            truth += 1
            assert await elsewhere.invalidate("forms")
            await asyncio.gather(*making)
            async with asyncio.timeout(5):
                while await newest(here) != truth:  # a local copy lives for a moment
                    await asyncio.sleep(0.002)
            assert await newest(elsewhere) == truth
            assert await newest(here) == truth


@pytest.mark.parametrize("kind", ["memcached", "redis"])
async def test_a_change_that_no_server_has_confirmed_is_seen_here_all_the_same(kind: str, namespace: str) -> None:
    """A server that is paused over a delete, an invalidation and a clear: what it held before does not return."""
    with started_memcached() if kind == "memcached" else started_redis() as server:
        host = server.host, server.port
        backend: Backend = MemcachedBackend([host], namespace=namespace)
        if kind == "redis":
            backend = RedisBackend(parse_url(f"redis://{host[0]}:{host[1]}"), namespace=namespace)
        async with process(backend, namespace) as cache:
            tags = {"a": [], "b": ["t"], "c:1": []}
            for key in tags:
                assert await cache.get_or_set(key, lambda: "old", 60, tags=tags[key]) == "old"
            server.pause()
            outcomes = [await cache.delete("a"), await cache.invalidate("t"), await cache.clear_prefix("c:")]
            server.resume()
            assert outcomes == [False, False, False]
            async with asyncio.timeout(10):
                while await cache.lookup("any") is NO_ANSWER:
                    await asyncio.sleep(0.01)
            for key in tags:
                assert await cache.get_or_set(key, lambda: "new", 60, tags=tags[key]) == "new"
