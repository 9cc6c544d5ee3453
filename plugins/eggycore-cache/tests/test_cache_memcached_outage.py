"""`MemcachedBackend` while servers die, hang and come back: nothing stale, nobody's answer mixed up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.testing import FakeClock
from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.breaker import Breaker
from eggycore_cache.errors import CacheDown
from eggycore_cache.hashing import Ring, wire_key
from eggycore_cache.memcached import MemcachedBackend
from eggycore_cache.memcached_server import Options
from tests.servers import MemcachedServer, Proxy
from tests.servers import memcached_server as started_server

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
    backend = MemcachedBackend(addresses, namespace="app", options=options or quick())
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def at(server: MemcachedServer | Proxy) -> tuple[str, int]:
    return server.host, server.port


@pytest.fixture
def server() -> Iterator[MemcachedServer]:
    with started_server() as started:
        yield started


@pytest.fixture
def three() -> Iterator[list[MemcachedServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(started_server()) for _ in range(3)]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.005)


async def until_state(backend: MemcachedBackend, index: int, state: str, keys: list[str]) -> None:
    """Ask until the breaker of that server is in this state."""

    async def is_so() -> bool:
        await backend.get_many(keys)
        return (await backend.stats()).servers[index].state == state

    await until(is_so)


def keys_of(servers: list[MemcachedServer], count: int = 60) -> list[list[str]]:
    """Keys by the index of their home."""
    ring = Ring([server.address for server in servers])
    homes: list[list[str]] = [[] for _ in servers]
    number = 0
    while min(map(len, homes)) < count:
        key = f"app:{number};"  # none begins with another
        homes[ring.order(wire_key(key))[0]].append(key)
        number += 1
    return [home[:count] for home in homes]


async def test_a_server_that_dies_moves_its_own_keys_only_and_they_return(three: list[MemcachedServer]) -> None:
    async with backend_of(*map(at, three)) as backend:
        homes = keys_of(three)
        lost, *others = homes
        kept = [key for home in others for key in home]
        every = {key: key.encode() for home in homes for key in home}
        assert await backend.set_many(every, 600) == frozenset()
        three[0].kill()
        await until_state(backend, 0, "open", lost)
        assert await backend.get_many(kept) == [key.encode() for key in kept]
        assert await backend.get_many(lost) == [None] * len(lost)
        assert backend.available
        assert await backend.set_many(dict.fromkeys(lost, b"guest"), 600) == frozenset()
        assert await backend.get_many(lost) == [b"guest"] * len(lost)
        assert await backend.clear_prefix(lost[0]) is False
        assert await backend.get(lost[0]) is None
        three[0].start()
        await until_state(backend, 0, "closed", lost)
        assert await backend.get_many(lost) == [None] * len(lost)
        assert await backend.set_many(dict.fromkeys(lost, b"home"), 600) == frozenset()
        assert await backend.get_many(lost) == [b"home"] * len(lost)
        assert await backend.get_many(kept) == [key.encode() for key in kept]
        assert await backend.clear_prefix("app:") is True


async def test_a_server_that_hung_returns_without_a_stale_value(three: list[MemcachedServer]) -> None:
    async with backend_of(*map(at, three)) as backend:
        lost = keys_of(three)[0]
        assert await backend.set_many(dict.fromkeys(lost, b"old"), 600) == frozenset()
        three[0].pause()
        late = await asyncio.gather(*[backend.set(key, b"late", 600) for key in lost])
        assert late == [False] * len(lost)
        await until_state(backend, 0, "open", lost)
        gone, changed = lost[:30], lost[30:]
        assert await backend.delete_many(gone) == 0
        assert await backend.set_many(dict.fromkeys(changed, b"new"), 600) == frozenset()
        assert await backend.get_many(changed) == [b"new"] * len(changed)
        three[0].resume()
        seen: set[object] = set()

        async def is_back() -> bool:
            seen.update(await backend.get_many(lost))
            return (await backend.stats()).servers[0].state == "closed"

        await until(is_back)
        for _ in range(50):
            seen.update(await backend.get_many(lost))
        assert seen <= {None, NO_ANSWER, b"new"}
        assert await backend.get_many(lost) == [None] * len(lost)


async def test_values_of_an_earlier_outage_are_not_found_in_a_later_one(three: list[MemcachedServer]) -> None:
    async with backend_of(*map(at, three)) as backend, backend_of(*map(at, three)) as newcomer:
        lost = keys_of(three, 10)[0]
        for turn in range(2):
            three[0].kill()
            await until_state(backend, 0, "open", lost)
            assert await backend.get_many(lost) == [None] * len(lost), turn
            assert await backend.set_many(dict.fromkeys(lost, b"guest"), 600) == frozenset()
            assert await backend.get_many(lost) == [b"guest"] * len(lost)
            three[0].start()
            await until_state(backend, 0, "closed", lost)
            assert await backend.set_many(dict.fromkeys(lost, b"home"), 600) == frozenset()
        three[0].kill()
        await until_state(newcomer, 0, "open", lost)
        assert await newcomer.get_many(lost) == [None] * len(lost)


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


async def test_a_dead_server_is_probed_by_one_connection_at_a_time(server: MemcachedServer) -> None:
    clock = FakeClock()
    options = Options(
        timeout=0.1,
        connect_timeout=0.1,
        breaker=lambda: Breaker(threshold=3, cooldown=1, max_cooldown=4, clock=clock, random=lambda: 0.0),
    )
    async with Proxy(*at(server)) as proxy, backend_of(at(proxy), options=options) as backend:
        assert await backend.set("app:a", b"1", 600) is True
        await proxy.black_hole()

        async def ask_all() -> list[object]:
            return await asyncio.gather(*[backend.get("app:a") for _ in range(100)])

        async def is_open() -> bool:
            await ask_all()
            return (await backend.stats()).servers[0].state == "open"

        await until(is_open)
        accepted = proxy.accepted
        for _ in range(50):
            assert await ask_all() == [NO_ANSWER] * 100
        assert proxy.accepted == accepted
        assert not backend.available
        for seconds in (1, 2, 4, 4):
            clock.advance(seconds)
            assert backend.available
            for _ in range(50):
                assert await ask_all() == [NO_ANSWER] * 100

            async def is_open_again() -> bool:
                return (await backend.stats()).servers[0].state == "open"

            await until(is_open_again)
            await ask_all()
            accepted += 1
            assert proxy.accepted == accepted
        await proxy.forward()
        clock.advance(4)

        async def is_back() -> bool:
            return await backend.get("app:a") is not NO_ANSWER

        await until(is_back)
        assert await backend.get("app:a") is None, "it was away, so all that it had is cleared"


async def test_a_connection_that_is_silent_is_given_up_and_told(server: MemcachedServer) -> None:
    async with backend_of(at(server), options=quick(threshold=1000)) as backend:
        assert await backend.set("app:a", b"1", 600) is True
        server.pause()
        assert await backend.get("app:a") is NO_ANSWER
        [stats] = (await backend.stats()).servers
        assert (stats.state, stats.errors, stats.reason) == ("closed", 1, "did not answer within 0.15 s")
        server.resume()

        async def answers() -> bool:
            return await backend.get("app:a") == b"1"

        await until(answers)


async def test_nobody_waits_for_a_server_that_is_down() -> None:
    with started_server() as server:
        address = at(server)
    async with backend_of(address) as backend:
        await until_state(backend, 0, "open", ["app:a"])
        assert await backend.get("app:a") is NO_ANSWER
        assert await backend.get_many(["app:a", "app:b"]) == [NO_ANSWER, NO_ANSWER]
        assert await backend.set("app:a", b"1", 60) is False
        assert await backend.set_many({"app:a": b"1"}, 60) == {"app:a"}
        assert await backend.add("app:a", b"1", 60) is NO_ANSWER
        assert await backend.incr("app:a", 1, 60) is NO_ANSWER
        assert await backend.touch("app:a", 60) is NO_ANSWER
        assert await backend.delete("app:a") is NO_ANSWER
        assert await backend.delete_many(["app:a"]) is NO_ANSWER
        assert await backend.exists("app:a") is NO_ANSWER
        assert await backend.clear_prefix("app:") is False
        assert (await backend.stats()).servers[0].reason == "refused the connection"
        with pytest.raises(CacheDown) as caught:
            await backend.ping()
        assert render(diagnose(caught.value)) == (
            "The cache does not answer.\n"
            f"  cause:  127.0.0.1:{address[1]}: refused the connection.\n"
            "  action: Look at the server and at CACHE_URL: eggycore doctor"
        )


async def test_a_server_that_restarts_between_two_requests_costs_no_answer(server: MemcachedServer) -> None:
    async with backend_of(at(server)) as backend:
        assert await backend.set("app:a", b"1", 600) is True
        server.stop()
        server.start()

        async def answers() -> bool:
            return await backend.get("app:a") is None

        await until(answers)
        assert await backend.set("app:a", b"2", 600) is True
        assert (await backend.stats()).servers[0].errors <= 1


async def test_a_name_that_does_not_exist_is_told() -> None:
    async with backend_of(("no-such-host.invalid", 11211), options=Options(connect_timeout=10)) as backend:
        with pytest.raises(CacheDown) as caught:
            await backend.ping()
        assert (caught.value.server, caught.value.reason) == (
            "no-such-host.invalid:11211",
            "has a name that is not known",
        )


async def test_closing_does_not_wait_for_a_server_that_takes_connections_and_is_silent(server: MemcachedServer) -> None:
    async with Proxy(*at(server)) as proxy:
        await proxy.black_hole()
        options = Options(timeout=60, connect_timeout=60)
        backend = MemcachedBackend([at(proxy)], namespace="app", options=options)
        waiting = asyncio.ensure_future(backend.get("app:a"))
        clearing = asyncio.ensure_future(backend.clear_prefix("app:"))

        async def is_connecting() -> bool:
            return proxy.accepted > 0

        await until(is_connecting)
        async with asyncio.timeout(5):
            await backend.close()
            assert await waiting is NO_ANSWER
            assert await clearing is False


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
