"""What `MemcachedBackend` says of a server that it cannot use: password, certificate, version, something else there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from importlib import import_module

import pytest

from eggycore.config import Secret
from eggycore_cache.access import Access
from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.errors import CacheDown
from eggycore_cache.memcached import MemcachedBackend
from eggycore_cache.memcached_server import Options
from eggycore_cache.tls import Tls
from tests.servers import Certificates
from tests.servers import memcached_server as started_server

backends = import_module("plugins.eggycore-cache.tests.memcached_backends")
backend_of, PATIENT = backends.patient_backend_of, backends.PATIENT


async def test_a_password_is_given_and_a_wrong_one_told() -> None:
    with started_server(password="s3cret-and-long") as server:

        def with_password(user: str, password: str | None) -> Options:
            return Options(timeout=10, connect_timeout=10, user=user, password=Secret(password) if password else None)

        async with backend_of(server, options=with_password("tester", "s3cret-and-long")) as backend:
            await backend.ping()
            assert await backend.set("app:a", b"1", 60) is True
        async with backend_of(server, options=with_password("tester", "wrong-password")) as backend:
            assert await reason_of(backend) == "refused the user or the password"
            assert await backend.get("app:a") is NO_ANSWER
            assert "wrong-password" not in repr(backend) + repr(await backend.stats())
            backend.set_access(
                Access(user="tester", password=Secret("s3cret-and-long"), timeout=10, connect_timeout=10)
            )
            while await backend.get("app:a") is NO_ANSWER:
                await asyncio.sleep(0.01)
            assert await backend.get("app:a") == b"1"
        async with backend_of(server) as backend:
            assert await reason_of(backend) == "wants a user and a password"


async def test_tls_is_spoken_and_a_wrong_authority_told(certificates: Certificates) -> None:
    with started_server(tls=certificates) as server:
        trusted = Tls(mode="verify-full", ca=certificates.authority).context()
        async with backend_of(server, options=Options(timeout=10, connect_timeout=10, tls=trusted)) as backend:
            await backend.ping()
            assert await backend.set("app:a", b"x" * 500_000, 60) is True
            assert await backend.get("app:a") == b"x" * 500_000
        strange = Tls(mode="verify-full").context()
        async with backend_of(server, options=Options(timeout=10, connect_timeout=10, tls=strange)) as backend:
            assert (await reason_of(backend)).startswith("has a certificate that is not accepted: ")
        async with backend_of(server, options=Options(timeout=10, connect_timeout=2)) as backend:
            assert await reason_of(backend) in ("closed the connection", "did not answer within 2 s")


async def test_a_port_where_something_else_lives_is_told(own_redis_port: int) -> None:
    backend = MemcachedBackend([("127.0.0.1", own_redis_port)], namespace="app", options=PATIENT)
    assert await reason_of(backend) in ("does not speak Memcached's protocol", "closed the connection")
    await backend.close()


@pytest.fixture
async def own_redis_port() -> AsyncIterator[int]:
    """Something that talks, and not as Memcached does."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-ERR unknown command 'version'\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("1.5.22", "is memcached 1.5.22, and 1.6.12 is needed"),
        ("1.6.9", "is memcached 1.6.9, and 1.6.12 is needed"),
        ("new", "is memcached new, and 1.6.12 is needed"),
    ],
)
async def test_a_server_that_is_too_old_is_told(version: str, reason: str) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(f"VERSION {version}\r\nEND\r\n".encode())
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        backend = MemcachedBackend([("127.0.0.1", port)], namespace="app", options=PATIENT)
        assert await reason_of(backend) == reason
        await backend.close()


async def test_a_server_with_no_room_for_connections_is_told() -> None:
    with started_server(options={"c": "20", "maxconns_fast": ""}) as server, ExitStack() as others:
        while is_let_in(others.enter_context(socket.create_connection((server.host, server.port)))):
            pass
        async with backend_of(server) as backend:
            # What it says is lost when it closes before it has read what we say.
            assert await reason_of(backend) in ("has too many connections", "closed the connection")


async def reason_of(backend: MemcachedBackend) -> str:
    with pytest.raises(CacheDown) as caught:
        await backend.ping()
    return caught.value.reason


def is_let_in(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"mn\r\n")
        return connection.recv(100) == b"MN\r\n"
    except ConnectionError:
        return False
