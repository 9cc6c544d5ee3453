"""`MemcachedBackend`: nothing stale returns, whatever was given up, late, missed or done at once."""

from __future__ import annotations

import asyncio
import random
from importlib import import_module

import pytest

from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.memcached import MemcachedBackend
from eggycore_cache.memcached_server import Options
from tests.servers import MemcachedServer, Proxy

backends = import_module("plugins.eggycore-cache.tests.memcached_backends")
at, backend_of, quick, until = backends.at, backends.backend_of, backends.quick, backends.until
server, three = backends.server, backends.three  # fixtures


async def test_a_late_write_does_not_come_over_a_later_one(server: MemcachedServer) -> None:
    async with backend_of(at(server), options=quick(threshold=1000)) as backend:
        for turn in range(5):
            keys = [f"app:{turn}-{number}" for number in range(4 * turn + 1)]
            assert await backend.set("app:kept", b"kept", 600) is True
            server.pause()
            late = [backend.set(key, b"late", 600) for key in keys]
            assert await asyncio.gather(*late) == [False] * len(keys)
            server.resume()
            for key in keys:

                async def is_set(key: str = key) -> bool:
                    return await backend.set(key, b"new", 600)

                await until(is_set)
            for _ in range(100):
                assert await backend.get_many(keys) == [b"new"] * len(keys)
            few = len(keys) <= 16
            assert await backend.get("app:kept") == (b"kept" if few else None), "many missed changes clear all"


async def until_two_connections(backend: MemcachedBackend, server: MemcachedServer) -> None:
    def connections() -> int:
        lines = [line.split() for line in server.command("stats").splitlines()]
        return next(int(words[2]) for words in lines if words[1:2] == ["curr_connections"])

    one = connections()

    async def there_is_another() -> bool:
        reading = []
        for _ in range(3):  # in turns of their own, so that one does not wait for another's answer
            reading.append(asyncio.ensure_future(backend.get("app:a")))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.gather(*reading)
        return connections() > one

    await until(there_is_another)


async def test_a_change_that_was_given_up_does_not_come_over_a_later_one(server: MemcachedServer) -> None:
    async with backend_of(at(server), options=Options(timeout=20, connect_timeout=20)) as backend:
        await until_two_connections(backend, server)
        for turn in range(3):
            server.pause()
            large = {f"app:{turn}:{number}": b"x" * 900_000 for number in range(20)}
            assert await backend.set_many({**large, "app:a": b"given up"}, 600, timeout=0.01) == {*large, "app:a"}
            last = asyncio.ensure_future(backend.set("app:a", b"last", 600))
            await asyncio.sleep(0)
            server.resume()
            assert await last is True
            while not await backend.exists(f"app:{turn}:19"):
                pass
            assert await backend.get("app:a") == b"last"


async def test_a_change_that_was_given_up_before_it_was_sent_does_not_come_over_a_clear(
    server: MemcachedServer,
) -> None:
    async with backend_of(at(server), options=Options(timeout=20, connect_timeout=20)) as backend:
        assert await backend.set("app:a", b"old", 600) is True
        server.pause()
        assert await backend.clear_prefix("app:b", timeout=0.01) is False  # under way: what follows waits for it
        assert await backend.set("app:a", b"given up", 600, timeout=0.01) is False
        assert await backend.clear_prefix("app:a", timeout=0.01) is False
        server.resume()
        assert await backend.get("app:a") is None


async def test_a_missed_delete_is_made_up_for_before_the_next_read(server: MemcachedServer) -> None:
    async with Proxy(*at(server)) as proxy, backend_of(at(proxy), options=quick(threshold=1000)) as backend:
        assert await backend.set_many({"app:a": b"1", "app:b": b"2"}, 600) == frozenset()
        await proxy.refuse()
        assert await backend.delete("app:a") is NO_ANSWER
        await proxy.forward()

        async def answers() -> bool:
            return await backend.get("app:a") is not NO_ANSWER

        await until(answers)
        assert await backend.get_many(["app:a", "app:b"]) == [None, b"2"]


async def test_a_clear_that_was_missed_is_made_up_for(server: MemcachedServer) -> None:
    async with Proxy(*at(server)) as proxy, backend_of(at(proxy), options=quick(threshold=1000)) as backend:
        assert await backend.set_many({"app:a:1": b"1", "app:b:1": b"2"}, 600) == frozenset()
        await proxy.refuse()
        assert await backend.clear_prefix("app:a:") is False
        await proxy.forward()

        async def answers() -> bool:
            return await backend.get("app:a:1") is not NO_ANSWER

        await until(answers)
        assert await backend.get_many(["app:a:1", "app:b:1"]) == [None, b"2"]


async def test_a_more_patient_delete_comes_after_a_set_of_the_same_tick(server: MemcachedServer) -> None:
    async with backend_of(at(server)) as backend:
        await backend.get("app:a")
        setting = asyncio.ensure_future(backend.set("app:a", b"old", 600))
        await asyncio.sleep(0)
        await backend.delete("app:a", timeout=5)
        assert await setting is True
        assert await backend.get("app:a") is None


async def test_a_set_that_was_not_sent_yet_does_not_outlive_a_clear(server: MemcachedServer) -> None:
    async with backend_of(at(server)) as backend:
        await backend.get("app:a")
        backend._homes[0].owe("app:c")  # so that nothing is sent before that is settled
        both = [asyncio.ensure_future(backend.set(key, b"old", 600)) for key in ("app:a:1", "app:b")]
        for _ in range(2):
            await asyncio.sleep(0)
        assert await backend.clear_prefix("app:a:") is True
        assert await asyncio.gather(*both) == [True, True]
        assert await backend.get_many(["app:a:1", "app:b"]) == [None, b"old"]


@pytest.mark.parametrize("seed", range(3))
async def test_nobody_gets_the_answer_of_another_whatever_is_cancelled_or_cut(
    seed: int, three: list[MemcachedServer]
) -> None:
    dice = random.Random(seed)
    keys = [f"app:{number}" for number in range(40)]
    answered = 0

    async def work(backend: MemcachedBackend) -> None:
        nonlocal answered
        for _ in range(120):
            key = dice.choice(keys)
            timeout = dice.choice([None, None, None, 0.0005, 0.005, 1.0])
            match dice.randrange(6):
                case 0 | 1:
                    reply = await backend.get(key, timeout=timeout)
                    assert not reply or reply.startswith(key.encode() + b"=")
                    answered += reply is not NO_ANSWER
                case 2 | 3:
                    value = key.encode() + b"=" * dice.randrange(1, 20_000)
                    assert await backend.set(key, value, 600, timeout=timeout) in (True, False)
                case 4:
                    some = dice.sample(keys, 5)
                    for name, each in zip(some, await backend.get_many(some, timeout=timeout), strict=True):
                        assert not each or each.startswith(name.encode() + b"=")
                case 5:
                    number = await backend.incr("app:counter", 1, 600, timeout=timeout)
                    assert number is NO_ANSWER or number >= 1

    async def cancelled_now_and_then(backend: MemcachedBackend) -> None:
        while not finished.is_set():
            task = asyncio.ensure_future(backend.get(dice.choice(keys)))
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    finished = asyncio.Event()
    async with (
        Proxy(*at(three[0])) as first,
        Proxy(*at(three[1])) as second,
        backend_of(at(first), at(second), at(three[2])) as backend,
    ):
        restless = [asyncio.ensure_future(cancelled_now_and_then(backend)) for _ in range(4)]
        workers = asyncio.gather(*[work(backend) for _ in range(16)])
        while not workers.done():
            await dice.choice([first.cut, second.cut, first.forward, first.black_hole])()
            await asyncio.sleep(dice.random() / 50)
        finished.set()
        await workers
        await asyncio.gather(*restless)
        assert answered > 100


@pytest.mark.parametrize("seed", range(2))
async def test_nobody_sees_what_was_there_before_their_own_last_change(seed: int, three: list[MemcachedServer]) -> None:
    dice = random.Random(seed)
    finished = asyncio.Event()
    hits = 0

    async def change_and_look(backend: MemcachedBackend, key: str) -> None:
        nonlocal hits
        last: bytes | None = None
        number = 0
        while not finished.is_set():
            timeout = dice.choice([None, None, None, 0.003, 0.05])
            chance = dice.randrange(100)
            if chance < 35:
                number += 1
                last = b"%d" % number + b"." * dice.choice([0, 0, 5000])
                await backend.set(key, last, 600, timeout=timeout)
            elif chance < 45:
                last = None
                await backend.delete(key, timeout=timeout)
            elif chance < 47:
                last = None
                await backend.clear_prefix(key, timeout=timeout)
            else:
                seen = await backend.get(key, timeout=timeout)
                assert not seen or seen == last, (key, seen[:10], last)
                hits += bool(seen)
            if chance % 10 == 0:
                await asyncio.sleep(dice.random() / 100)

    async def do_harm(server: MemcachedServer) -> None:
        if dice.random() < 0.7:
            server.pause()
            await asyncio.sleep(dice.choice([0.01, 0.1, 0.3, 0.6]))
            server.resume()
        else:
            server.kill()
            await asyncio.sleep(dice.random() / 4)
            server.start()

    async with backend_of(*map(at, three)) as backend:
        async with asyncio.TaskGroup() as tasks:
            for number in range(30):
                tasks.create_task(change_and_look(backend, f"app:{number};"))
            for _ in range(10):
                await do_harm(dice.choice(three))
                await asyncio.sleep(dice.random() / 5)
            finished.set()
        assert hits > 100
