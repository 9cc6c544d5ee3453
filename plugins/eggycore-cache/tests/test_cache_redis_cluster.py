"""`RedisBackend` on a Redis Cluster: keys find their node, and a node that dies takes only its keys along."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from importlib import import_module

import pytest
from hiredis import Reader

from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.redis_backend import RedisBackend
from eggycore_cache.redis_protocol import pack, slot_of
from tests.servers import RedisCluster, RedisServer, redis_cluster

conformance = import_module("plugins.eggycore-cache.tests.backend_conformance")
backends = import_module("plugins.eggycore-cache.tests.redis_backends")
backend_of, says, until = backends.backend_of, backends.says, conformance.until

PATIENCE = 20.0
"""Seconds in which a cluster has got over the death of a node."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with redis_cluster() as running:
        yield running


def url_of(cluster: RedisCluster, nodes: int = 3) -> str:
    return f"redis://{','.join(node.address for node in cluster.nodes[:nodes])}/?cluster=true"


def node_of(cluster: RedisCluster, key: str) -> RedisServer:
    """The primary that serves a key."""
    for first, last, port in slots_of(next(node for node in cluster.nodes if node.running)):
        if first <= slot_of(key) <= last:
            return next(node for node in cluster.nodes if node.port == port)
    raise AssertionError(f"nobody serves {key}")


def slots_of(node: RedisServer) -> list[tuple[int, int, int]]:
    """First and last slot, and the port of their primary, as a node tells."""
    reader = Reader()
    with socket.create_connection((node.host, node.port), 5) as connection:
        connection.sendall(pack(("CLUSTER", "SLOTS")))
        while (reply := reader.gets()) is False:
            reader.feed(connection.recv(65536))
    return [(first, last, primary[1]) for first, last, primary, *_ in reply]


async def set_all(backend: RedisBackend, keys: list[str], value: bytes) -> bool:
    return await backend.set_many(dict.fromkeys(keys, value), 60) == frozenset()


@pytest.mark.parametrize(
    "check", [*conformance.CHECKS, *conformance.CLOSING_CHECKS], ids=lambda check: str(check.__name__)
)
async def test_it_does_what_every_backend_does(check: conformance.Check, cluster: RedisCluster) -> None:
    async with backend_of(url_of(cluster), timeout=10) as backend:
        await check(backend, f"{check.__name__}:")


async def test_one_node_is_enough_to_find_the_others(cluster: RedisCluster) -> None:
    async with backend_of(url_of(cluster, 1), timeout=10) as backend:
        servers = {server.server for server in (await backend.stats()).servers}
        assert servers == {node.address for node in cluster.nodes}
        keys = [f"one:{number}" for number in range(300)]
        assert await set_all(backend, keys, b"1")
        assert await backend.get_many(keys) == [b"1"] * 300
        assert await asyncio.gather(*map(backend.get, keys)) == [b"1"] * 300
        assert all(int(node.execute("DBSIZE")) > 50 for node in cluster.nodes)
        assert (await backend.stats()).entries >= 300
        assert await backend.clear_prefix("one:") is True


async def test_a_slot_that_moves_takes_its_callers_along(cluster: RedisCluster) -> None:
    key = "moving"
    slot = str(slot_of(key))
    source = node_of(cluster, key)
    target = next(node for node in cluster.nodes if node is not source)
    source_id, target_id = (str(node.execute("CLUSTER", "MYID")) for node in (source, target))
    async with backend_of(url_of(cluster), timeout=10) as backend:
        assert await backend.set(key, b"1", None) is True
        target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        assert await backend.get(key) == b"1"
        source.execute("MIGRATE", target.host, str(target.port), key, "0", "5000")
        assert await backend.get(key) == b"1"  # ASK
        assert await backend.set(key, b"2", 60) is True
        assert await backend.get_many([key, "other"]) == [b"2", None]
        for node in (target, source, *cluster.nodes):
            node.execute("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        given_up = asyncio.create_task(backends.deleting(backend, key))
        await asyncio.sleep(0)
        given_up.cancel()
        await until(lambda: says(asyncio.to_thread(target.execute, "EXISTS", key), 0))
        target.execute("SET", key, "2")
        assert await backend.get(key) == b"2"  # MOVED
        assert await backend.incr("{moving}n", 1, 60) == 1
        assert await backend.delete(key) is True
        assert (await backend.stats()).servers[0].reason == ""
        await backend.clear_prefix("")


async def test_a_node_that_dies_takes_only_its_keys_along_and_nothing_stale_returns() -> None:
    with redis_cluster(options={"cluster-require-full-coverage": "no"}) as cluster:
        async with backend_of(url_of(cluster)) as backend:
            keys = [f"k{number}" for number in range(200)]
            assert await set_all(backend, keys, b"old")
            dead = cluster.nodes[0]
            ranges = slots_of(dead)
            own = [key for key in keys if any(a <= slot_of(key) <= b and port == dead.port for a, b, port in ranges)]
            others = [key for key in keys if key not in own]
            assert own
            dead.pause()
            assert await backend.get_many(own, timeout=1) == [NO_ANSWER] * len(own)
            assert await backend.get_many(others) == [b"old"] * len(others)
            assert backend.available is True
            assert await backend.delete(own[0]) is NO_ANSWER
            assert await backend.set(own[1], b"new", 60) is False
            assert await backend.clear_prefix(own[2]) is False
            dead.resume()

            async def answered() -> bool:
                return NO_ANSWER not in await backend.get_many(own)

            await until(answered, PATIENCE)
            assert [await backend.get(key) for key in own[:3]] == [None, None, None]
            assert await backend.get(own[-1]) == b"old"


async def test_a_replica_takes_over_with_what_was_written_before() -> None:
    with redis_cluster(replicas=1) as cluster:
        async with backend_of(url_of(cluster), namespace="app") as backend:
            keys = [f"app:{number}" for number in range(200)]
            assert await set_all(backend, keys, b"old")
            dead = cluster.nodes[0]
            await until(lambda: backends.is_replicated(dead), PATIENCE)
            own = [key for key in keys if node_of(cluster, key) is dead]
            deleted, cleared = own[0], own[1]
            dead.kill()
            assert await backend.delete(deleted) is NO_ANSWER
            assert await backend.clear_prefix(cleared) is False
            seen: set[object] = set()

            async def answered() -> bool:
                answers = await backend.get_many([deleted, cleared, *own[2:]])
                seen.update(answers[:2])
                return NO_ANSWER not in answers

            await until(answered, PATIENCE)
            assert seen <= {None, NO_ANSWER}
            same = [key for key in own if not key.startswith(cleared) and key != deleted]
            assert await backend.get_many(same) == [b"old"] * len(same)
            assert dead.address not in {server.server for server in (await backend.stats()).servers}
            await backend.ping()


async def test_a_cluster_that_is_not_there_yet_is_found_when_it_is() -> None:
    with redis_cluster() as cluster:
        for node in cluster.nodes:
            node.pause()
        async with backend_of(url_of(cluster), connect_timeout=0.1, namespace="app") as backend:
            assert await backend.get("app:a") is NO_ANSWER
            assert await backend.delete("app:a") is NO_ANSWER
            assert await backend.clear_prefix("app:b") is False
            assert backend.available is False
            assert [trouble.kind for trouble in backend.troubles] == ["no-cluster"]
            for node in cluster.nodes:
                node.resume()
            await until(lambda: says(backend.set("app:a", b"1", 60), True), PATIENCE)
            assert await backend.get("app:a") == b"1"
