"""`sync_client`: pymemcache with our names of keys on the same servers, and nothing hidden."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from pymemcache.client.base import PooledClient
from pymemcache.exceptions import MemcacheClientError, MemcacheServerError

from eggycore.config import Secret
from eggycore_cache.errors import BadKey
from eggycore_cache.memcached import MemcachedBackend
from eggycore_cache.memcached_sync import sync_client
from eggycore_cache.targets import CacheTarget
from eggycore_cache.tls import Tls
from tests.servers import Certificates, MemcachedServer
from tests.servers import memcached_server as started_server


def target_of(*servers: MemcachedServer, password: str | None = None, tls: Tls | None = None) -> CacheTarget:
    hosts = tuple((server.host, server.port) for server in servers)
    user = "tester" if password else ""
    return CacheTarget(
        kind="memcached", hosts=hosts, user=user, password=Secret(password) if password else None, tls=tls
    )


@contextmanager
def client_of(target: CacheTarget, **options: object) -> Iterator[PooledClient]:
    client = sync_client(target, namespace="app", **{"timeout": 10, "connect_timeout": 10, **options})
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(params=[1, 3], ids=["one server", "three servers"])
def servers(request: pytest.FixtureRequest) -> Iterator[list[MemcachedServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(started_server()) for _ in range(request.param)]


def test_values_come_back_and_keys_may_be_of_any_length_and_script(servers: list[MemcachedServer]) -> None:
    with client_of(target_of(*servers)) as client:
        items = {f"{name}{number}": b"%d" % number for number in range(20) for name in ("a", "ключ", "k" * 300)}
        assert client.set_many(items, expire=60) == []
        assert client.get_many(list(items)) == items
        assert client.set("b", b"1", expire=60) is True
        assert client.get("b") == b"1"
        assert client.add("b", b"2") is False
        assert client.delete("b") is True
        assert client.delete("b") is False
        assert client.get("b", default=b"none") == b"none"


def test_answers_are_waited_for_so_that_what_fails_is_told(servers: list[MemcachedServer]) -> None:
    with client_of(target_of(*servers)) as client:
        with pytest.raises(MemcacheServerError):
            client.set("a", b"x" * 2_000_000)
        with pytest.raises(BadKey):
            client.get("a b")
        with pytest.raises(BadKey):
            client.set("", b"1")
        for server in servers:
            server.kill()
        for _ in range(10):
            with pytest.raises(OSError):
                client.get("a")
            with pytest.raises(OSError):
                client.set("a", b"1")
            with pytest.raises(OSError):
                client.set_many({"a": b"1"})
        for server in servers:
            server.start()
        assert client.set("a", b"1") is True


def test_threads_share_it(servers: list[MemcachedServer]) -> None:
    with client_of(target_of(*servers), connections=8) as client, ThreadPoolExecutor(8) as threads:

        def work(number: int) -> bool:
            key = f"k{number}"
            return all(client.set(key, b"%d" % turn) and client.get(key) == b"%d" % turn for turn in range(50))

        assert all(threads.map(work, range(8)))


async def test_it_and_the_service_delete_for_each_other_and_read_only_their_own(servers: list[MemcachedServer]) -> None:
    backend = MemcachedBackend([(server.host, server.port) for server in servers], namespace="app")
    with client_of(target_of(*servers)) as client:
        for name in ("a", "ключ", "k" * 300):
            assert await backend.set(f"app:{name}", b"backend's", 60) is True
            assert client.get(name) is None
            assert client.delete(name) is True
            assert await backend.get(f"app:{name}") is None
            assert client.set(name, b"client's") is True
            assert await backend.get(f"app:{name}") is None
            await backend.delete(f"app:{name}")
            assert client.get(name) is None
    await backend.close()


def test_it_gives_its_password() -> None:
    with started_server(password="s3cret-and-long") as server:
        with client_of(target_of(server, password="s3cret-and-long")) as client:
            assert client.set("a", b"1") is True
            assert client.get("a") == b"1"
        refused = pytest.raises(MemcacheClientError, match="it refused the user or the password")
        with client_of(target_of(server, password="wrong")) as client, refused:
            client.get("a")


def test_it_speaks_tls(certificates: Certificates) -> None:
    with started_server(tls=certificates) as server:
        tls = Tls(mode="verify-full", ca=certificates.authority)
        with client_of(target_of(server, tls=tls)) as client:
            assert client.set("a", b"1") is True
            assert client.get("a") == b"1"
