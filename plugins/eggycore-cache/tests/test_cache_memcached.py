"""`MemcachedBackend` on a Memcached that is well: what every backend does, and what is Memcached's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from importlib import import_module

import pytest
import uvloop

from eggycore.config import Secret
from eggycore.diagnostics import diagnose, render
from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.errors import NotANumber, ValueTooLarge
from eggycore_cache.hashing import wire_key
from eggycore_cache.memcached import MemcachedBackend, from_settings
from eggycore_cache.memcached_server import Options
from eggycore_cache.settings import CacheSettings
from tests.servers import MemcachedServer
from tests.servers import memcached_server as started_server

conformance = import_module("plugins.eggycore-cache.tests.backend_conformance")
backends = import_module("plugins.eggycore-cache.tests.memcached_backends")
backend_of, PATIENT = backends.patient_backend_of, backends.PATIENT


@pytest.fixture
async def backend(memcached_server: MemcachedServer) -> AsyncIterator[MemcachedBackend]:
    async with backend_of(memcached_server) as opened:
        yield opened


CHECKS = pytest.mark.parametrize(
    "check", [*conformance.CHECKS, *conformance.CLOSING_CHECKS], ids=lambda check: str(check.__name__)
)


@CHECKS
async def test_it_does_what_every_backend_does(check: conformance.Check, backend: MemcachedBackend) -> None:
    await check(backend, "app:")


@CHECKS
async def test_it_does_so_on_several_servers(check: conformance.Check, memcached_server: MemcachedServer) -> None:
    with started_server() as second, started_server() as third:
        async with backend_of(memcached_server, second, third) as backend:
            await check(backend, "app:")


@pytest.fixture(scope="module")
def libuv() -> None:
    """libuv makes one pipe for signals with the first loop of the process, and keeps it."""
    uvloop.new_event_loop().close()


@CHECKS
@pytest.mark.usefixtures("libuv")
def test_it_does_so_on_uvloop(check: conformance.Check, memcached_server: MemcachedServer) -> None:
    async def checked() -> None:
        async with backend_of(memcached_server) as backend:
            await check(backend, "app:")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(checked())


async def test_it_connects_by_itself_when_nobody_has_opened_it(memcached_server: MemcachedServer) -> None:
    backend = MemcachedBackend([(memcached_server.host, memcached_server.port)], namespace="app", options=PATIENT)
    assert await backend.set("app:a", b"1", 60) is True
    assert await backend.get("app:a") == b"1"
    await backend.close()


async def test_what_is_wanted_in_one_turn_goes_out_together(
    backend: MemcachedBackend, memcached_server: MemcachedServer
) -> None:
    await asyncio.gather(*[backend.set(f"app:{number}", b"%d" % number, 60) for number in range(50)])
    before = counted(memcached_server, "cmd_get")
    answers = await asyncio.gather(*[backend.get(f"app:{number}") for number in range(50)])
    assert answers == [b"%d" % number for number in range(50)]
    assert counted(memcached_server, "cmd_get") - before == 51, "the state item is read once for all of them"


@pytest.mark.parametrize("size", [0, 1, 100, 10_000, 1_000_000])
async def test_values_of_every_size_come_back(backend: MemcachedBackend, size: int) -> None:
    value = b"\r\nEND\r\nVA 3 f1" * (size // 14) + b"x" * (size % 14)
    assert await backend.set("app:a", value, 60) is True
    assert await backend.get("app:a") == value


async def test_a_value_larger_than_the_server_takes_says_so_and_leaves_nothing(backend: MemcachedBackend) -> None:
    await backend.set("app:a", b"old", 60)
    with pytest.raises(ValueTooLarge) as caught:
        await backend.set("app:a", b"x" * 2_000_000, 60)
    assert render(diagnose(caught.value)) == (
        "The value for the cache key 'app:a' does not fit into the cache.\n"
        "  cause:  With its key it has 2000005 bytes, and the cache holds 1048576 (memcached -I).\n"
        "  action: Raise memcached -I, or cache something smaller."
    )
    assert await backend.get("app:a") is None
    for value in (b"x" * 2_000_000, b"x" * (1_048_576 - 10)):
        await backend.set("app:a", b"old", 60)
        with pytest.raises(ValueTooLarge):
            await backend.set_many({"app:a": value, "app:b": b"fits"}, 60)
        with pytest.raises(ValueTooLarge):
            await backend.add("app:c", value, 60)
        assert await backend.get_many(["app:a", "app:b", "app:c"]) == [None, b"fits", None]


async def test_a_server_with_another_limit_is_asked_for_it() -> None:
    with started_server(options={"I": "2m"}) as server:
        async with backend_of(server) as backend:
            assert await backend.set("app:a", b"x" * 1_500_000, 60) is True
            with pytest.raises(ValueTooLarge, match="does not fit") as caught:
                await backend.set("app:a", b"x" * 3_000_000, 60)
            assert caught.value.limit == 2 * 1024 * 1024


@pytest.mark.parametrize(
    "key", ["k" * 249, "k" * 250, "k" * 1000, "ключ", "a!b", "!app:!state", "app:!state", "a\u2028b", "é" * 300]
)
async def test_every_key_keeps_its_own_value(backend: MemcachedBackend, key: str) -> None:
    others = {wire_key(f"app:{key}").decode(), f"app:{key}x", f"app:{key[:-1]}"} - {f"app:{key}"}
    names = [f"app:{key}", *others]
    assert await backend.set_many({name: name.encode() for name in names}, 60) == frozenset()
    assert await backend.get_many(names) == [name.encode() for name in names]
    assert await backend.clear_prefix(f"app:{key}")
    assert await backend.get(f"app:{key}") is None


async def test_a_ttl_of_less_than_a_second_is_an_end_and_not_for_ever(
    backend: MemcachedBackend, memcached_server: MemcachedServer
) -> None:
    await backend.set("app:short", b"1", 0.001)
    await backend.set("app:long", b"1", 90 * 86400)
    await backend.set("app:longest", b"1", 1e12)
    assert remaining(memcached_server, "app:short") in (0, 1, None)
    assert remaining(memcached_server, "app:long") == pytest.approx(90 * 86400, abs=5)
    assert remaining(memcached_server, "app:longest") == pytest.approx((1 << 31) - 1 - time.time(), abs=5)


async def test_a_number_that_gets_shorter_has_no_spaces_behind_it(backend: MemcachedBackend) -> None:
    await backend.set("app:n", b"10", 60)
    assert await backend.incr("app:n", -1, 60) == 9
    assert await backend.get("app:n") == b"9"
    await backend.set("app:text", b"9 ", 60)
    assert await backend.get("app:text") == b"9 "
    await backend.set("app:huge", b"9" * 20, 60)
    with pytest.raises(NotANumber):
        await backend.incr("app:huge", 1, 60)


async def test_a_timeout_of_a_call_is_for_that_call_alone(memcached_server: MemcachedServer) -> None:
    with started_server() as server:
        async with backend_of(server, options=Options(timeout=20, connect_timeout=20)) as backend:
            await backend.set("app:a", b"1", 60)
            server.pause()
            try:
                slow = asyncio.gather(backend.get("app:a"), backend.get_many(["app:a", "app:b"], timeout=30))
                assert await backend.get("app:a", timeout=0.01) is NO_ANSWER
                assert await backend.get_many(["app:a", "app:b"], timeout=0.01) == [NO_ANSWER, NO_ANSWER]
                assert await backend.set("app:b", b"1", 60, timeout=0.01) is False
                assert await backend.incr("app:n", 1, 60, timeout=0.01) is NO_ANSWER
            finally:
                server.resume()
            assert (await slow)[0] == b"1"


async def test_two_apps_on_one_server_do_not_clear_each_other(memcached_server: MemcachedServer) -> None:
    async with backend_of(memcached_server) as one, backend_of(memcached_server, namespace="other") as other:
        await one.set("app:a", b"1", 60)
        await other.set("other:a", b"2", 60)
        assert await one.clear_prefix("app:")
        assert (await one.get("app:a"), await other.get("other:a")) == (None, b"2")


async def test_a_clear_is_seen_by_every_process_at_once(memcached_server: MemcachedServer) -> None:
    async with backend_of(memcached_server) as one, backend_of(memcached_server) as two:
        for turn in range(200):  # more than the server's list of clears holds
            await one.set("app:user:1", b"%d" % turn, 60)
            await two.set("app:form:1", b"%d" % turn, 60)
            assert await two.get("app:user:1") == b"%d" % turn
            assert await two.clear_prefix("app:user:")
            assert await one.get("app:user:1") is None
            assert await one.get("app:form:1") == b"%d" % turn
            assert await one.set("app:user:1", b"new", 60), "what is confirmed after a clear stays"
            assert await two.get("app:user:1") == b"new"


async def test_clears_of_many_processes_at_once_are_all_done(memcached_server: MemcachedServer) -> None:
    async with (
        backend_of(memcached_server) as one,
        backend_of(memcached_server) as two,
        backend_of(memcached_server) as three,
    ):
        for number in range(30):
            await one.set(f"app:{number}:a", b"1", 60)
        await one.set("app:kept", b"1", 60)
        cleared = [b.clear_prefix(f"app:{n}:") for n, b in zip(range(30), [one, two, three] * 10, strict=True)]
        assert all(await asyncio.gather(*cleared))
        assert await two.get_many([f"app:{number}:a" for number in range(30)]) == [None] * 30
        assert await two.get("app:kept") == b"1"


async def test_a_server_that_was_emptied_forgets_every_value(
    backend: MemcachedBackend, memcached_server: MemcachedServer
) -> None:
    await backend.set("app:a", b"1", 60)
    memcached_server.command("delete app:!state")  # as if it had been evicted
    assert await backend.get("app:a") is None
    assert await backend.set("app:a", b"2", 60) is True
    assert await backend.get("app:a") == b"2"
    memcached_server.command("flush_all")
    assert await backend.set("app:a", b"3", 60) is True
    assert await backend.get("app:a") == b"3"


async def test_a_state_item_that_is_somebody_else_s_is_replaced(
    backend: MemcachedBackend, memcached_server: MemcachedServer
) -> None:
    await backend.set("app:a", b"1", 60)
    for junk in ("hello", "[]", "[[1]]", '{"a":1}', '[["1",""]]', "[[true,1]]"):
        memcached_server.command(f"ms app:!state {len(junk)}\r\n{junk}")
        assert await backend.get("app:a") is None
        assert await backend.set("app:a", b"2", 60) is True
        assert await backend.get("app:a") == b"2"


async def test_values_of_other_clients_are_none_of_ours(
    backend: MemcachedBackend, memcached_server: MemcachedServer
) -> None:
    memcached_server.command("ms app:a 5\r\nhello")
    assert await backend.get("app:a") is None
    assert await backend.add("app:a", b"1", 60) is True
    memcached_server.command("ms app:n 1\r\n7")
    assert await backend.incr("app:n", 1, 60) == 1


async def test_it_counts_what_the_server_holds(memcached_server: MemcachedServer) -> None:
    async with backend_of(memcached_server) as backend, backend_of(memcached_server, namespace="") as whole:
        await backend.set("app:a", b"1", 60)
        stats = await backend.stats()
        assert (stats.entries, stats.bytes, stats.evictions) == (None, None, 0)
        assert [(s.server, s.state, s.errors, s.reason) for s in stats.servers] == [
            (memcached_server.address, "closed", 0, "")
        ]
        stats = await whole.stats()
        assert stats.entries is not None
        assert stats.entries >= 1
        assert stats.bytes is not None
        assert stats.bytes > 50


async def test_it_is_made_from_the_settings(memcached_server: MemcachedServer) -> None:
    settings = CacheSettings(url=Secret(memcached_server.dsn()), namespace="app", timeout=10.0, connect_timeout=10.0)
    backend = from_settings(settings)
    assert backend.kind == "memcached"
    assert await backend.set("app:a", b"1", 60)
    await backend.close()


async def test_closing_answers_those_who_wait() -> None:
    with started_server() as server:
        async with backend_of(server) as backend:
            await backend.set("app:a", b"1", 60)
            server.pause()
            try:
                waiting = [asyncio.ensure_future(call) for call in calls(backend)]
                await asyncio.sleep(0)
                await backend.close()
                assert await asyncio.gather(*waiting) == [NO_ANSWER, False, NO_ANSWER, False]
            finally:
                server.resume()


def calls(backend: MemcachedBackend) -> list[Coroutine[object, object, object]]:
    return [
        backend.get("app:a"),
        backend.set("app:a", b"1", 60),
        backend.incr("app:n", 1, 60),
        backend.clear_prefix("app:"),
    ]


def counted(server: MemcachedServer, name: str) -> int:
    return next(int(line.split()[2]) for line in server.command("stats").splitlines() if line.split()[1:2] == [name])


def remaining(server: MemcachedServer, wire: str) -> int | None:
    """Seconds that an item has left; None when it is gone."""
    answer = server.command(f"mg {wire} t")
    return int(answer.split()[1][1:]) if answer.startswith("HD") else None
