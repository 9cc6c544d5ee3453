"""A server that is away is a line in the log when it goes and one when it is back, however much is asked meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest

from eggycore.config import read_from_env
from eggycore.types import Finding
from eggycore_cache import CacheSettings, close, connect
from eggycore_cache.breaker import Breaker
from eggycore_cache.memcached_server import Options
from tests.servers import MemcachedServer, RedisServer, memcached_server, redis_server

Starts = Callable[[], AbstractContextManager[MemcachedServer | RedisServer]]
SERVERS = [pytest.param("memcached", memcached_server, id="memcached"), pytest.param("redis", redis_server, id="redis")]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for level in ("info", "warn", "error"):
        monkeypatch.setattr(
            f"eggycore.log.{level}", lambda message, level=level, **fields: lines.append((level, message))
        )
    impatient = partial(Breaker, cooldown=0.02, max_cooldown=0.02)
    monkeypatch.setattr("eggycore_cache.redis_server.Breaker", impatient)
    monkeypatch.setattr("eggycore_cache.memcached.Options", partial(Options, breaker=impatient))
    return lines


@pytest.mark.parametrize(("kind", "starts"), SERVERS)
async def test_an_outage_is_two_lines(kind: str, starts: Starts, said: list[tuple[str, str]]) -> None:
    with starts() as server:
        settings = {"CACHE_URL": f"{kind}://{server.host}:{server.port}", "CACHE_NAMESPACE": "app"}
        cache = await connect(read_from_env(CacheSettings, settings))
        assert await cache.set("a", b"1")
        for _ in range(2):
            said.clear()
            server.kill()
            async with asyncio.timeout(10):
                while cache.available:
                    await cache.get("a")
            errors = (await cache.stats()).errors
            async with asyncio.timeout(10):  # several probes fail meanwhile
                while (await cache.stats()).errors < errors + 500:
                    await cache.get("a")
                    await cache.get_or_set("b", lambda: 1)
            server.start()
            async with asyncio.timeout(10):
                while not await cache.set("a", b"1"):
                    await asyncio.sleep(0.01)
            assert said == [
                ("warn", "cache server does not answer and is left alone for a while"),
                ("info", "cache server answers again"),
            ]
        await close()


async def test_the_doctor_tells_of_a_server_that_answers_and_refuses(said: list[tuple[str, str]]) -> None:
    with redis_server() as server:
        server.execute("CONFIG", "SET", "maxmemory", "1mb")
        cache = await connect(read_from_env(CacheSettings, {"CACHE_URL": server.dsn()}))
        assert await cache.set("a", b"x" * 2_000_000) is False or await cache.set("b", b"1") is False
        assert list(await cache.examine(replicas=1)) == [
            Finding(
                subject=f"cache {server.address}",
                state="warning",
                text="it answers, but not everything: it has reached its maxmemory, and its policy lets nothing go",
                action="Set maxmemory-policy to allkeys-lru for a server that is only a cache, or raise maxmemory.",
            )
        ]
        await close()
    assert said == []
