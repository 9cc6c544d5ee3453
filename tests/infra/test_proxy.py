"""The proxy takes the network away in the ways that it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.servers import MemcachedServer, Proxy

PATIENCE = 5.0


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def version(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"version\r\n")
    return await asyncio.wait_for(reader.readline(), PATIENCE)


async def test_everything_passes_at_first(memcached_server: MemcachedServer) -> None:
    async with Proxy(memcached_server.host, memcached_server.port) as proxy, connected(proxy) as streams:
        assert (await version(*streams)).startswith(b"VERSION")
        assert proxy.accepted == proxy.open_connections == 1
    assert proxy.open_connections == 0


async def test_a_client_that_leaves_is_forgotten(memcached_server: MemcachedServer) -> None:
    async with Proxy(memcached_server.host, memcached_server.port) as proxy:
        async with connected(proxy) as streams:
            await version(*streams)
        async with asyncio.timeout(PATIENCE):
            while proxy.open_connections:
                await asyncio.sleep(0)


async def test_large_answers_arrive_whole(memcached_server: MemcachedServer) -> None:
    value = b"x" * 1_000_000
    async with Proxy(memcached_server.host, memcached_server.port) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"set a 0 0 %d\r\n%s\r\n" % (len(value), value))
        assert await asyncio.wait_for(reader.readline(), PATIENCE) == b"STORED\r\n"
        writer.write(b"get a\r\n")
        answer = await asyncio.wait_for(_until_end(reader), PATIENCE)
        assert answer == b"VALUE a 0 %d\r\n%s\r\nEND\r\n" % (len(value), value)


async def test_what_was_said_before_the_end_arrives_whole() -> None:
    said = b"x" * 3_000_000

    async def talk_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(talk_and_leave, "127.0.0.1", 0)
    async with server, Proxy(*server.sockets[0].getsockname()) as proxy, connected(proxy) as (reader, writer):
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PATIENCE) == said


async def test_refusing_resets_what_is_open_and_takes_nothing_until_it_forwards(
    memcached_server: MemcachedServer,
) -> None:
    async with Proxy(memcached_server.host, memcached_server.port) as proxy:
        async with connected(proxy) as streams:
            await version(*streams)
            await proxy.refuse()
            with pytest.raises(ConnectionResetError):
                await streams[0].read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(proxy.host, proxy.port)
        await proxy.forward()
        async with connected(proxy) as streams:
            assert (await version(*streams)).startswith(b"VERSION")


async def test_cutting_resets_what_is_open_once(memcached_server: MemcachedServer) -> None:
    async with Proxy(memcached_server.host, memcached_server.port) as proxy:
        async with connected(proxy) as streams:
            await version(*streams)
            await proxy.cut()
            with pytest.raises(ConnectionResetError):
                await streams[0].read()
        async with connected(proxy) as streams:
            assert (await version(*streams)).startswith(b"VERSION")


async def test_a_black_hole_answers_nobody_and_resets_nobody(memcached_server: MemcachedServer) -> None:
    async with (
        Proxy(memcached_server.host, memcached_server.port) as proxy,
        connected(proxy) as old,
    ):
        await version(*old)
        await proxy.black_hole()
        async with connected(proxy) as new:
            for reader, writer in (old, new):
                writer.write(b"version\r\n")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.05)
            await proxy.forward()
            for reader, _ in (old, new):
                assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"VERSION")


async def test_a_black_hole_after_refusing_takes_connections(memcached_server: MemcachedServer) -> None:
    async with Proxy(memcached_server.host, memcached_server.port) as proxy:
        await proxy.refuse()
        await proxy.black_hole()
        async with connected(proxy) as (reader, _):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.05)


async def test_a_delay_holds_back_both_directions(memcached_server: MemcachedServer) -> None:
    async with Proxy(memcached_server.host, memcached_server.port) as proxy, connected(proxy) as streams:
        await version(*streams)
        await proxy.delay(0.05)
        began = asyncio.get_running_loop().time()
        await version(*streams)
        assert asyncio.get_running_loop().time() - began >= 0.1


async def test_a_server_that_is_not_there_resets_the_client() -> None:
    async with Proxy("127.0.0.1", 1) as proxy, connected(proxy) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def _until_end(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    while not answer.endswith(b"END\r\n"):
        answer += await reader.read(65536)
    return answer
