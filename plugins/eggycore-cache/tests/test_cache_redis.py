"""`RedisBackend` on a Redis that is well: what every backend does, and what is Redis' own."""

from __future__ import annotations

import asyncio
import random
from importlib import import_module

import pytest
import uvloop

from eggycore.config import Secret
from eggycore_cache.access import Access
from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.errors import NotANumber, ValueTooLarge
from eggycore_cache.redis_backend import RedisBackend, from_settings
from eggycore_cache.settings import CacheSettings
from eggycore_cache.targets import parse_url
from eggycore_cache.tls import Tls
from tests.servers import Certificates, RedisServer, redis_server

conformance = import_module("plugins.eggycore-cache.tests.backend_conformance")
backends = import_module("plugins.eggycore-cache.tests.redis_backends")
backend_of = backends.backend_of


@pytest.mark.parametrize(
    "check", [*conformance.CHECKS, *conformance.CLOSING_CHECKS], ids=lambda check: str(check.__name__)
)
async def test_it_does_what_every_backend_does(check: conformance.Check, redis_url: str, redis_prefix: str) -> None:
    async with backend_of(redis_url, namespace=redis_prefix.removesuffix(":"), timeout=10) as backend:
        await check(backend, redis_prefix)


async def test_it_connects_by_itself_when_nobody_has_opened_it(redis_url: str, redis_prefix: str) -> None:
    backend = RedisBackend(parse_url(redis_url))
    assert await backend.set(f"{redis_prefix}a", b"1", 60) is True
    assert await backend.get(f"{redis_prefix}a") == b"1"
    await backend.close()


async def test_the_settings_say_where_it_is(own_redis: RedisServer) -> None:
    settings = CacheSettings(url=Secret(own_redis.dsn("3")), namespace="app", timeout=10.0, connect_timeout=10.0)
    backend = from_settings(settings)
    assert await backend.set("app:a", b"1", 60) is True
    assert own_redis.execute("INFO", "keyspace")["db3"]["keys"] == 1
    await backend.close()


async def test_what_is_wanted_in_one_turn_goes_out_in_one_write(own_redis: RedisServer) -> None:
    async with backend_of(own_redis.dsn()) as backend:
        await asyncio.gather(*(backend.set(f"k{number}", b"%d" % number, 60) for number in range(50)))
        before = own_redis.execute("INFO", "commandstats")
        reads = own_redis.execute("INFO", "stats")["total_reads_processed"]
        answers = await asyncio.gather(*(backend.get(f"k{number}") for number in range(50)))
        after = own_redis.execute("INFO", "commandstats")
        assert answers == [b"%d" % number for number in range(50)]
        none = {"calls": 0}
        calls = [stats.get(f"cmdstat_{name}", none)["calls"] for stats in (before, after) for name in ("mget", "get")]
        assert calls == [calls[0], calls[1], calls[0] + 1, calls[1]]
        # One for the gets; the others are those of the test's own two connections.
        assert own_redis.execute("INFO", "stats")["total_reads_processed"] - reads < 20


async def test_a_delete_that_its_caller_gave_up_is_done_all_the_same(own_redis: RedisServer) -> None:
    async with backend_of(own_redis.dsn()) as backend:
        await backend.set("a", b"1", 60)
        task = asyncio.create_task(backends.deleting(backend, "a"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await backend.get("a") is None


async def test_replies_stay_with_their_callers_whoever_gives_up(redis_url: str, redis_prefix: str) -> None:
    rng = random.Random(7)
    async with backend_of(redis_url, namespace=redis_prefix.removesuffix(":"), timeout=10) as backend:
        values = {f"{redis_prefix}{number}": b"%d " % number * rng.randint(1, 3000) for number in range(60)}
        assert await backend.set_many(values, 60) == frozenset()
        wrong: list[str] = []

        async def one(key: str) -> None:
            how = rng.random()
            if how < 0.6:
                right = await backend.get(key, timeout=rng.choice([None, None, 0.0005, 0.01])) in (
                    values[key],
                    NO_ANSWER,
                )
            elif how < 0.8:
                right = await backend.get_many([key, f"{redis_prefix}none"]) == [values[key], None]
            elif how < 0.9:
                right = await backend.exists(key) is True
            else:
                right = await backend.incr(f"{redis_prefix}none{rng.random()}", 3, 60) == 3
            if not right:
                wrong.append(key)

        for _ in range(60):
            tasks = [asyncio.create_task(one(key)) for key in rng.choices(list(values), k=60)]
            for _ in range(rng.randint(0, 4)):
                await asyncio.sleep(0)
            for task in rng.sample(tasks, 25):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert wrong == []
        assert await backend.get_many(list(values)) == list(values.values())


async def test_a_call_has_the_time_it_asks_for(own_redis: RedisServer) -> None:
    async with backend_of(own_redis.dsn(), timeout=0.05) as backend:
        await backend.set("a", b"1", 60)
        own_redis.execute("CLIENT", "PAUSE", "200", "ALL")
        assert await backend.get("a", timeout=5) == b"1"
        assert backend.troubles == ()
        own_redis.execute("CLIENT", "PAUSE", "400", "ALL")
        waiting = asyncio.create_task(backend.exists("a", timeout=5))
        await asyncio.sleep(0)
        assert await backend.get("a", timeout=0.001) is NO_ANSWER
        assert await backend.get("a") is NO_ANSWER
        assert not waiting.done()
        assert await waiting is True
        assert await backend.get("a", timeout=5) == b"1"
        assert backend.troubles == ()


async def test_numbers_keep_64_bits_and_time_to_live(own_redis: RedisServer) -> None:
    async with backend_of(own_redis.dsn()) as backend:
        assert await backend.incr("n", 2**60 + 1, 60) == 2**60 + 1
        assert await backend.incr("n", 2, None) == 2**60 + 3
        assert 0 < own_redis.execute("TTL", "n") <= 60
        assert await backend.incr("n", -(2**62), None) == 0
        assert 0 < own_redis.execute("TTL", "n") <= 60
        await backend.set("zeros", b"007", None)
        assert await backend.incr("zeros", 1, 60) == 8
        assert own_redis.execute("TTL", "zeros") == -1
        await backend.set("large", b"%d" % (2**63 - 1), None)
        with pytest.raises(NotANumber):
            await backend.incr("large", 1, None)


async def test_what_another_put_there_that_is_no_text_is_a_miss(own_redis: RedisServer) -> None:
    own_redis.execute("LPUSH", "list", "1")
    async with backend_of(own_redis.dsn()) as backend:
        assert await backend.get("list") is None
        assert await backend.get_many(["list", "none"]) == [None, None]
        with pytest.raises(NotANumber):
            await backend.incr("list", 1, None)
        assert await backend.delete("list") is True
        assert backend.troubles == ()


async def test_a_value_beyond_what_redis_takes_is_refused_before_it_is_sent(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore_cache.redis_backend.MAX_VALUE", 100)
    async with backend_of(redis_url) as backend:
        with pytest.raises(ValueTooLarge) as caught:
            await backend.set("a", b"x" * 101, 60)
        assert (caught.value.size, caught.value.limit) == (102, 100)
        with pytest.raises(ValueTooLarge):
            await backend.set_many({"a": b"x" * 101}, 60)


async def test_many_keys_are_cleared_and_the_number_says_so(own_redis: RedisServer) -> None:
    async with backend_of(own_redis.dsn(), timeout=10) as backend:
        await backend.set_many({f"a:{number}": b"1" for number in range(5000)}, 60)
        await backend.set_many({f"b:{number}": b"1" for number in range(50)}, 60)
        assert (await backend.stats()).entries == 5050
        assert await backend.clear_prefix("a:") is True
        stats = await backend.stats()
        assert stats.entries == 50
        assert stats.evictions == 0
        assert stats.bytes is not None
        assert stats.bytes > 100_000
        assert [(server.server, server.state, server.errors, server.reason) for server in stats.servers] == [
            (own_redis.address, "closed", 0, "")
        ]


async def test_entries_of_a_server_that_is_shared_are_not_told(redis_url: str, redis_prefix: str) -> None:
    async with backend_of(redis_url, namespace="app") as backend:
        assert (await backend.stats()).entries is None


async def test_databases_are_apart(own_redis: RedisServer) -> None:
    async with backend_of(own_redis.dsn("1")) as one, backend_of(own_redis.dsn("2")) as two:
        await one.set("a", b"1", 60)
        assert (await one.get("a"), await two.get("a")) == (b"1", None)


async def test_a_rotated_password_is_used_for_new_connections(own_redis: RedisServer) -> None:
    own_redis.execute("ACL", "SETUSER", "app", "on", ">old", "~*", "+@all")
    try:
        url = f"redis://app:old@{own_redis.address}/0"
        async with backend_of(url) as backend:
            await backend.set("a", b"1", 60)
            own_redis.execute("ACL", "SETUSER", "app", "resetpass", ">new")
            assert await backend.get("a") == b"1"
            backend.set_access(Access(user="app", password=Secret("new")))
            own_redis.disconnect_clients()
            await conformance.until(lambda: backends.says(backend.get("a"), b"1"))
    finally:
        own_redis.execute("ACL", "DELUSER", "app")


@pytest.fixture(scope="module")
def uvloop_has_run() -> None:
    """libuv keeps a pipe for signals from its first loop on, for the whole process."""
    uvloop.run(asyncio.sleep(0))


@pytest.mark.usefixtures("uvloop_has_run")
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_it_does_all_that_on_uvloop_too(secured: bool, certificates: Certificates) -> None:
    tls = Tls(mode="verify-full", ca=certificates.authority) if secured else None

    async def run(server: RedisServer) -> None:
        async with backend_of(server.dsn(), tls=tls, timeout=5) as backend:
            for check in conformance.CHECKS:
                await check(backend, f"{check.__name__}:")
            assert await backend.set("large", b"x" * 3_000_000, 60) is True
            assert await backend.get("large") == b"x" * 3_000_000
            server.kill()
            assert await backend.get("a") is NO_ANSWER
            assert await backend.delete("a") is NO_ANSWER
            server.start()
            await conformance.until(lambda: backends.takes(backend, "a"))

    with redis_server(tls=certificates if secured else None) as server:
        uvloop.run(run(server))
