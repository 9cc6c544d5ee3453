"""`get_client`: the libraries' own clients, for code that does not await."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from pymemcache.client.base import PooledClient

from eggycore.config import read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore_cache import CacheClosed, CacheSettings, NoCache, close, connect, get_cache, get_client, set_client
from eggycore_cache.errors import NoSyncClient
from tests.servers import Certificates, redis_cluster, redis_sentinels, redis_server


@pytest.fixture(autouse=True)
async def closed_afterwards() -> AsyncIterator[None]:
    yield
    await close()


async def test_it_is_pymemcache_s_on_memcached(memcached_address: str) -> None:
    await connect(read_from_env(CacheSettings, {"CACHE_SERVERS": memcached_address, "CACHE_NAMESPACE": "sync"}))
    client = get_client()
    assert isinstance(client, PooledClient)
    assert client.set("a", b"1") is True
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: get_client().get("a"), range(8))) == [b"1"] * 8
    assert get_client() is client


async def test_it_is_redis_py_s_on_redis_and_sees_the_same_values(redis_url: str, redis_prefix: str) -> None:
    settings = {"CACHE_URL": redis_url, "CACHE_NAMESPACE": redis_prefix.rstrip(":")}
    cache = await connect(read_from_env(CacheSettings, settings))
    client = get_client()
    assert isinstance(client, redis.Redis)
    await cache.set("a", b"1")
    assert client.get(f"{redis_prefix}a") == b"1"
    client.set(f"{redis_prefix}a", b"2")
    assert await cache.get("a") == b"2"


async def test_it_checks_certificates_and_sends_the_password(certificates: Certificates) -> None:
    with redis_server(tls=certificates, password="pa@ss") as server:
        settings = {"CACHE_URL": server.dsn(), "CACHE_TLS_CA": str(certificates.authority)}
        await connect(read_from_env(CacheSettings, settings))
        assert get_client().ping() is True
        await close()
        await connect(read_from_env(CacheSettings, {"CACHE_URL": server.dsn()}))
        with pytest.raises(redis.ConnectionError, match="certificate"):
            get_client().ping()


async def test_it_finds_its_way_by_sentinels() -> None:
    with redis_sentinels(sentinels=1, password="pw") as servers:
        sentinel = servers.sentinels[0].address
        url = f"redis+sentinel://:pw@{sentinel}/{servers.service}/2"
        cache = await connect(read_from_env(CacheSettings, {"CACHE_URL": url}))
        await cache.set("a", b"1", strict=True)
        assert get_client().get("a") == b"1"


async def test_it_finds_its_way_in_a_cluster() -> None:
    with redis_cluster() as servers:
        nodes = ",".join(node.address for node in servers.nodes)
        cache = await connect(read_from_env(CacheSettings, {"CACHE_URL": f"redis://{nodes}?cluster=true"}))
        for key in "abcdef":
            await cache.set(key, key.encode(), strict=True)
        assert [get_client().get(key) for key in "abcdef"] == [key.encode() for key in "abcdef"]


async def test_it_ends_with_the_cache(redis_url: str) -> None:
    cache = await connect(read_from_env(CacheSettings, {"CACHE_URL": redis_url}))
    get_client().ping()
    await cache.close()
    with pytest.raises(CacheClosed):
        get_client()


async def test_in_memory_there_is_none() -> None:
    await connect()
    with pytest.raises(NoSyncClient) as none:
        get_client()
    assert render(diagnose(none.value)) == (
        "There is no client of a cache server here.\n"
        "  cause:  The cache is in the memory of this process.\n"
        "  action: Name a Memcached or Redis server in CACHE_URL, or await the methods of CacheService."
    )


async def test_another_one_may_be_set_by_hand() -> None:
    other = object()
    assert set_client(other) is None
    assert get_client() is other
    assert set_client(None) is other
    with pytest.raises(NoCache):
        get_cache()
    with pytest.raises(NoCache):
        get_client()
