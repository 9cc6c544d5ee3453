"""`MemcachedBackend` while servers die, hang and come back: nothing stale, nobody's answer mixed up."""

from __future__ import annotations

import asyncio
from importlib import import_module

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

backends = import_module("plugins.eggycore-cache.tests.memcached_backends")
at, backend_of, quick, until = backends.at, backends.backend_of, backends.quick, backends.until
server, three = backends.server, backends.three  # fixtures


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
