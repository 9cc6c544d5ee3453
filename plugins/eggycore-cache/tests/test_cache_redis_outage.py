"""`RedisBackend` on a Redis that is broken on purpose: it says so, nothing stale returns, and it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from importlib import import_module

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.errors import CacheDown
from eggycore_cache.redis_backend import RedisBackend
from eggycore_cache.redis_link import RedisLink
from eggycore_cache.redis_server import RedisServer as Served
from eggycore_cache.targets import parse_url
from tests.servers import Proxy, RedisServer, redis_server

backends = import_module("plugins.eggycore-cache.tests.redis_backends")
conformance = import_module("plugins.eggycore-cache.tests.backend_conformance")
backend_of, says, takes, until = backends.backend_of, backends.says, backends.takes, conformance.until


async def is_open(backend: RedisBackend) -> bool:
    """Asks until the breaker is open."""
    await backend.get("a")
    return not backend.available


async def reason_of(backend: RedisBackend) -> str:
    return str((await backend.stats()).servers[0].reason)


async def test_a_server_that_dies_is_no_answer_and_comes_back_by_itself() -> None:
    with redis_server() as server:
        async with backend_of(server.dsn()) as backend:
            assert await takes(backend, "a")
            server.kill()
            assert await backend.get("a") is NO_ANSWER
            assert await backend.get_many(["a", "b"]) == [NO_ANSWER, NO_ANSWER]
            assert await backend.set_many({"a": b"1", "b": b"1"}, 60) == {"a", "b"}
            answers = [backend.delete("a"), backend.exists("a"), backend.add("a", b"1", 60), backend.touch("a", 60)]
            assert [await answer for answer in answers] == [NO_ANSWER] * 4
            assert await backend.incr("n", 1, 60) is NO_ANSWER
            assert await backend.delete_many(["a", "b"]) is NO_ANSWER
            assert await backend.clear_prefix("a") is False
            await until(lambda: is_open(backend))
            assert await reason_of(backend) == "nothing listens there"
            with pytest.raises(CacheDown) as caught:
                await backend.ping()
            assert render(diagnose(caught.value)) == (
                "The cache does not answer.\n"
                f"  cause:  Redis at {server.address}: nothing listens there.\n"
                "  action: Start the server, or correct the host and port in CACHE_URL."
            )
            server.start()
            await until(lambda: takes(backend, "b", b"2"))
            assert (await backend.get("a"), await backend.get("b")) == (None, b"2")
            assert backend.available is True
            assert await reason_of(backend) == ""
            await backend.ping()


async def test_while_the_breaker_is_open_nobody_waits() -> None:
    with redis_server() as server:
        async with backend_of(server.dsn(), timeout=1.0, connect_timeout=0.2) as backend:
            server.pause()
            await until(lambda: is_open(backend))
            began = time.monotonic()
            for _ in range(50):
                assert await backend.get("a") is NO_ANSWER
            assert time.monotonic() - began < 0.9
            server.resume()
            await until(lambda: takes(backend, "a"))


async def test_a_server_that_is_not_up_yet_is_used_when_it_is() -> None:
    with redis_server() as server:
        server.kill()
        async with backend_of(server.dsn()) as backend:
            assert await backend.get("a") is NO_ANSWER
            server.start()
            await until(lambda: takes(backend, "a"))


async def test_a_restart_while_nobody_asks_is_not_noticed() -> None:
    with redis_server() as server:
        async with backend_of(server.dsn(), timeout=5) as backend:
            await takes(backend, "a")
            server.stop()
            server.start()
            for _ in range(3):
                await asyncio.sleep(0)  # the loop sees that the connection is closed
            assert await backend.get("a") is None
            assert (await backend.stats()).servers[0].errors == 0


async def test_what_a_paused_server_did_not_do_in_time_is_not_done_after_what_came_later() -> None:
    with redis_server() as server:
        async with backend_of(server.dsn(), namespace="app", timeout=0.1, connect_timeout=0.2) as backend:
            for _ in range(3):
                await until(lambda: takes(backend, "app:deleted", b"old"))
                await until(lambda: takes(backend, "app:set", b"old"))
                await until(lambda: takes(backend, "app:cleared:1", b"old"))
                server.pause()
                assert await backend.set("app:late", b"late", 60) is False
                assert await backend.delete("app:late") is NO_ANSWER
                assert await backend.delete("app:deleted") is NO_ANSWER
                assert await backend.set("app:set", b"new" * 100_000, 60) is False
                assert await backend.clear_prefix("app:cleared:") is False
                server.resume()
                keys = ["app:deleted", "app:set", "app:cleared:1", "app:late"]
                await until(lambda keys=keys: says(backend.get_many(keys), [None] * 4))
                assert [int(server.execute("EXISTS", key)) for key in keys] == [0, 0, 0, 0]


async def test_no_read_sees_what_was_deleted_during_an_outage() -> None:
    with redis_server() as server:
        async with Proxy(server.host, server.port) as proxy, backend_of(f"redis://{proxy.address}") as backend:
            keys = [f"k{number}" for number in range(2500)]
            assert await backend.set_many(dict.fromkeys(keys, b"old"), 60, timeout=10) == frozenset()
            await proxy.refuse()
            assert await backend.delete_many(keys) is NO_ANSWER
            seen: set[object] = set()
            await proxy.forward()

            async def answered() -> bool:
                answers = set(await backend.get_many(keys[::50]))
                seen.update(answers)
                return NO_ANSWER not in answers

            await until(answered)
            assert seen <= {None, NO_ANSWER}
            assert int(server.execute("DBSIZE")) == 0


async def test_more_deletes_than_are_remembered_clear_the_namespace_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eggycore_cache.redis_owed.MAX_KEYS", 20)
    with redis_server() as server:
        async with (
            Proxy(server.host, server.port) as proxy,
            backend_of(f"redis://{proxy.address}", namespace="app") as backend,
        ):
            await backend.set_many({f"app:{number}": b"old" for number in range(100)}, 60)
            server.execute("SET", "another:1", "1")
            await proxy.refuse()
            for number in range(30):
                assert await backend.delete(f"app:{number}") is NO_ANSWER
            await proxy.forward()
            await until(lambda: says(backend.get("app:99"), None))
            assert server.execute("KEYS", "*") == ["another:1"]


async def test_a_network_that_swallows_everything_costs_a_caller_its_timeout_and_no_more() -> None:
    with redis_server() as server:
        async with (
            Proxy(server.host, server.port) as proxy,
            backend_of(f"redis://{proxy.address}", connect_timeout=0.2) as backend,
        ):
            await takes(backend, "a")
            await proxy.black_hole()
            began = time.monotonic()
            answers = await asyncio.gather(*(backend.get("a") for _ in range(100)))
            assert set(answers) == {NO_ANSWER}
            assert 0.4 < time.monotonic() - began < 2.5
            assert [trouble.kind for trouble in backend.troubles] == ["overdue"]
            await until(lambda: is_open(backend))
            assert await reason_of(backend) == "no connection was made in time"
            await proxy.cut()
            await proxy.forward()
            await until(lambda: takes(backend, "a"))


async def test_one_probe_at_a_time_is_made_of_a_server_that_was_away() -> None:
    with redis_server() as server:
        async with (
            Proxy(server.host, server.port) as proxy,
            backend_of(f"redis://{proxy.address}", connect_timeout=0.3) as backend,
        ):
            await proxy.black_hole()
            await proxy.cut()
            await until(lambda: is_open(backend))
            await until(lambda: says(asyncio.sleep(0, backend.available), True))
            accepted = proxy.accepted
            await asyncio.gather(*(backend.get(f"k{number}") for number in range(50)))
            assert proxy.accepted - accepted == 1


async def test_a_full_server_takes_no_values_and_keeps_no_old_ones() -> None:
    with redis_server(options={"maxmemory": "3mb", "maxmemory-policy": "noeviction"}) as server:
        async with backend_of(server.dsn(), timeout=5) as backend:
            assert await takes(backend, "a", b"old")
            number = 0
            while await backend.set(f"k{number}", b"x" * 100_000, 60):
                number += 1
                assert number < 100
            while await backend.set(f"k{number}", b"x" * 1000, 60):
                number += 1
                assert number < 1000
            assert await backend.set("a", b"y" * 100_000, 60) is False
            assert await backend.get("a") is None
            assert await backend.add("b", b"y", 60) is NO_ANSWER
            assert await backend.incr("n", 1, 60) is NO_ANSWER
            assert await backend.get("k0") == b"x" * 100_000
            assert await reason_of(backend) == "it has reached its maxmemory, and its policy lets nothing go"
            assert backend.available is True
            assert await backend.clear_prefix("k") is True
            assert await takes(backend, "a", b"new")


async def test_a_server_that_refuses_changes_is_not_read_either() -> None:
    with redis_server() as server:
        async with backend_of(server.dsn()) as backend:
            await takes(backend, "a", b"old")
            server.set_read_only(True)
            assert await backend.delete("a") is NO_ANSWER
            assert await backend.get("a") is NO_ANSWER
            assert "min-replicas-to-write" in await reason_of(backend)
            server.set_read_only(False)
            await until(lambda: takes(backend, "b"))
            assert await backend.get("a") is None


async def test_a_primary_that_became_a_replica_is_told_from_one_that_is_well() -> None:
    with redis_server() as server, redis_server() as other:
        async with backend_of(server.dsn()) as backend:
            await takes(backend, "a")
            server.execute("REPLICAOF", other.host, str(other.port))
            with pytest.raises(CacheDown):
                await backend.ping()
            await until(lambda: is_open(backend))
            assert await reason_of(backend) == "it is a replica and takes no changes, perhaps since a fail-over"


async def test_closing_while_calls_wait_answers_them(own_redis: RedisServer) -> None:
    async with backend_of(own_redis.dsn(), timeout=10) as backend:
        own_redis.execute("CLIENT", "PAUSE", "300", "ALL")
        calls = [asyncio.create_task(reading(backend)) for _ in range(5)]
        clearing = asyncio.create_task(clearing_all(backend))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await backend.close()
        assert await asyncio.gather(*calls, clearing) == [NO_ANSWER] * 5 + [False]


async def test_closing_while_it_connects_leaves_nothing_behind() -> None:
    with redis_server() as server:
        server.pause()
        backend = RedisBackend(parse_url(server.dsn()), connect_timeout=5)
        call = asyncio.create_task(reading(backend))
        await asyncio.sleep(0)
        await backend.close()
        assert await call is NO_ANSWER
        server.resume()


async def reading(backend: RedisBackend) -> object:
    return await backend.get("a")


async def clearing_all(backend: RedisBackend) -> object:
    return await backend.clear_prefix("")


async def test_a_server_that_still_reads_its_data_is_told_and_waited_for() -> None:
    slow = {"key-load-delay": "5000", "loading-process-events-interval-bytes": "1024", "rdbcompression": "no"}
    with redis_server(options=slow) as server:
        server.execute("MSET", *(word for number in range(300) for word in (f"k{number}", "x" * 1000)))
        server.execute("SAVE")
        server.kill()
        async with backend_of(server.dsn(), timeout=1) as backend:
            starting = asyncio.create_task(asyncio.to_thread(server.start))
            await until(lambda: told(backend, "loading"))
            await starting
            await until(lambda: says(backend.get("k1"), b"x" * 1000))
            assert backend.troubles == ()


async def told(backend: RedisBackend, kind: str) -> bool:
    """Whether this is what the matter is, or has become clear by asking."""
    await backend.get("k1")
    return [trouble.kind for trouble in backend.troubles] == [kind]


async def test_a_set_that_was_given_up_before_it_was_sent_is_not_sent_later() -> None:
    with redis_server() as server:
        async with backend_of(server.dsn(), timeout=0.1, connect_timeout=10) as backend:
            await takes(backend, "a", b"old")
            server.pause()
            began = time.monotonic()
            assert await backend.get("a") is NO_ANSWER
            assert time.monotonic() - began < 5
            assert await takes(backend, "a", b"late") is False
            server.resume()
            await until(lambda: takes(backend, "b"))
            await until(lambda: says(backend.get("a"), None))


class Detour:
    """A way to a server on which the first connection can be held up while later ones pass."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.held = asyncio.Event()
        self.released = asyncio.Event()
        self.arrived = asyncio.Event()
        self.connections = 0
        self.ended = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = self.connections == 0
        self.connections += 1
        there, onward = await asyncio.open_connection(self.server.host, self.server.port)
        back = asyncio.create_task(self.pump(there, writer))
        try:
            while piece := await reader.read(65536):
                if first and self.held.is_set():
                    await self.released.wait()
                onward.write(piece)
            onward.write_eof()
            await back
        except OSError:  # one side has reset the connection
            back.cancel()
            await asyncio.wait([back])
        finally:
            onward.transport.abort()
            writer.transport.abort()
            self.ended += 1
            if first:
                self.arrived.set()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)


async def test_what_was_on_its_way_on_a_connection_that_was_given_up_never_arrives() -> None:
    with redis_server() as server:
        detour = Detour(server)
        listening = await asyncio.start_server(detour.carry, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        async with backend_of(f"redis://127.0.0.1:{port}") as backend:
            assert await takes(backend, "a", b"old")
            detour.held.set()
            assert await takes(backend, "a", b"late") is False
            await until(lambda: takes(backend, "b"))
            assert await backend.delete("a") is not NO_ANSWER
            detour.released.set()
            await detour.arrived.wait()
            assert int(server.execute("EXISTS", "a")) == 0
            assert await backend.get("a") is None
        while detour.ended < detour.connections:
            await asyncio.sleep(0)
        listening.close()
        await listening.wait_closed()


async def test_a_clear_that_is_still_owed_comes_before_the_next_read() -> None:
    with redis_server() as server:
        async with backend_of(server.dsn(), namespace="app") as backend:
            assert await takes(backend, "app:a:1", b"old")
            backend._route.owe_prefix("app:a:")
            seen = [await backend.get("app:a:1")]
            await until(lambda: says(backend.get("app:a:1"), None))
            assert seen[0] in (None, NO_ANSWER)


async def test_a_clear_whose_time_is_up_in_the_moment_of_the_connection_comes_before_the_next_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    introduce = Served._introduce

    async def and_time_is_up(self: Served, link: RedisLink) -> None:
        await introduce(self, link)
        for _, future in self._commands:
            self._expire(future)

    with redis_server() as server:
        async with backend_of(server.dsn(), namespace="app") as backend:
            assert await takes(backend, "app:a", b"old")
            (served,) = backend._route.servers
            served._link.drop(None)
            monkeypatch.setattr(Served, "_introduce", and_time_is_up)
            assert await backend.clear_prefix("app:") is False
            assert await backend.get("app:a") in (None, NO_ANSWER)
            monkeypatch.undo()
            async with asyncio.timeout(5):
                while await backend.get("app:a") is NO_ANSWER:
                    await asyncio.sleep(0.01)
            assert await backend.get("app:a") is None
