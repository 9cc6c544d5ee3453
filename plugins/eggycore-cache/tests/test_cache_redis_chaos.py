"""`RedisBackend` behind a network that breaks at random: the last value is there, or nothing, or no answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module

import pytest

from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.breaker import Breaker
from eggycore_cache.redis_backend import RedisBackend
from tests.servers import Proxy, RedisServer

backends = import_module("plugins.eggycore-cache.tests.redis_backends")

NAMESPACE = "app"
STEPS = 60


class Chaos:
    """What has been done, and what a get may answer now: the value, or None."""

    def __init__(self, backend: RedisBackend, proxy: Proxy, rng: random.Random) -> None:
        self.backend = backend
        self.proxy = proxy
        self.rng = rng
        self.may_be: dict[str, bytes] = {}
        self.done: list[str] = []
        self.answers = 0

    async def step(self) -> None:
        steps: list[Callable[[], Awaitable[None]]] = [
            *[self.set] * 3,
            *[self.proxy.forward] * 3,
            self.set_and_give_up,
            self.delete,
            self.clear,
            self.proxy.cut,
            self.proxy.black_hole,
            self.proxy.refuse,
            self.slow_down,
            partial(asyncio.sleep, 0.03),
        ]
        step = self.rng.choice(steps)
        self.done.append(getattr(step, "__name__", "wait"))
        await step()

    def key(self) -> str:
        return f"{NAMESPACE}:{self.rng.choice('abc')}"

    async def set(self) -> None:
        key, value = self.key(), b"%d" % len(self.done)
        self.may_be.pop(key, None)
        if await self.backend.set(key, value, 60):
            self.may_be[key] = value

    async def set_and_give_up(self) -> None:
        key = self.key()
        task = asyncio.create_task(backends.takes(self.backend, key, b"given up"))
        for _ in range(self.rng.randint(1, 3)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        self.may_be.pop(key, None)

    async def delete(self) -> None:
        key = self.key()
        await self.backend.delete(key)
        self.may_be.pop(key, None)

    async def clear(self) -> None:
        await self.backend.clear_prefix(f"{NAMESPACE}:")
        self.may_be.clear()

    async def slow_down(self) -> None:
        await self.proxy.delay(self.rng.choice([0, 0, 0.01, 0.04]))

    async def check(self) -> None:
        for key in (f"{NAMESPACE}:{name}" for name in "abc"):
            answer = await self.backend.get(key)
            self.answers += answer is not NO_ANSWER
            assert answer in (NO_ANSWER, None, self.may_be.get(key)), (key, self.done)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_network_does_nothing_stale_returns(
    seed: int, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore_cache.redis_server.Breaker", partial(Breaker, cooldown=0.02, max_cooldown=0.05))
    options = {"namespace": NAMESPACE, "timeout": 0.03, "connect_timeout": 0.05}
    async with (
        Proxy(own_redis.host, own_redis.port) as proxy,
        backends.backend_of(f"redis://{proxy.address}", **options) as backend,
    ):
        chaos = Chaos(backend, proxy, random.Random(seed))
        for _ in range(STEPS):
            await chaos.step()
            await chaos.check()
        await proxy.delay(0)
        await proxy.forward()
        await backends.until_taken(backend, f"{NAMESPACE}:a")
        chaos.may_be[f"{NAMESPACE}:a"] = b"1"
        answers = chaos.answers
        async with asyncio.timeout(5):
            while chaos.answers < answers + 3:
                await chaos.check()
