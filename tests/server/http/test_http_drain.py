"""Draining tells clients and streams to go elsewhere, and loses no request of a client at work."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from eggycore.server.http import HTTPServer
from eggycore.server.stopped import Stopped
from eggycore.web import draining
from tests.server.http.driving import LONG


@pytest.mark.usefixtures("hello")
async def test_while_draining_every_answer_closes_its_connection_and_new_ones_are_still_taken(server, start, connect):
    await start()
    client = await connect()
    assert "connection" not in (await client.get("/")).headers
    server.begin_drain()
    server.begin_drain()
    for draining_client in (client, await connect()):
        reply = await draining_client.get("/")
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await draining_client.closed()


async def test_a_request_that_began_before_the_drain_closes_its_connection_too(server, start, connect, gate):
    await start()
    client = await connect()
    await client.send("/gate")
    await gate.entered.wait()
    server.begin_drain()
    gate.leave.set()
    assert (await client.reply()).headers["connection"] == "close"
    assert await client.closed()


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("path", ["/nowhere", "/error", "/empty", "/cookie"])
async def test_errors_and_unusual_answers_close_the_connection_too(server, router, start, connect, path):
    async def error(request):
        raise ValueError

    async def empty(request):
        return None

    async def cookie(request):
        response = web.Response(text="x")
        response.set_cookie("a", "b")
        return response

    router.get("/error", error)
    router.get("/empty", empty)
    router.get("/cookie", cookie)
    await start()
    server.begin_drain()
    client = await connect()
    assert (await client.get(path)).headers["connection"] == "close"
    assert await client.closed()


async def test_a_stream_is_told_and_ends_by_itself(server, router, start, connect):
    async def ticks(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"tick")
        await draining(request).wait()
        await response.write(b"bye")
        return response

    router.get("/", ticks)
    await start()
    client = await connect()
    status, _ = await client.begin("/")
    assert status == 200
    stopping = asyncio.create_task(server.stop(LONG))
    assert [chunk async for chunk in client.chunks()] == [b"tick", b"bye"]
    assert await stopping == Stopped(finished=1, cut=0)


class Balanced:
    """Clients that keep their connections and open the next one to whichever server still listens."""

    def __init__(self, servers, think_time):
        self.servers = servers
        self.think_time = think_time
        self.over = asyncio.Event()
        self.answers = 0

    async def run(self, connections):
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._keep_asking())

    async def _keep_asking(self):
        while not self.over.is_set():
            reader, writer = await self._connect()
            try:
                while not self.over.is_set() and await self._ask(reader, writer):
                    pass
            finally:
                writer.close()

    async def _connect(self):
        for server in self.servers:
            try:
                return await asyncio.open_connection(*server.address)
            except ConnectionRefusedError:
                continue
        raise AssertionError("no server listens")

    async def _ask(self, reader, writer):
        """Whether the connection may be used again. Anything but a whole answer with 200 raises."""
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        assert await reader.readexactly(17) == b'{"hello":"world"}'
        self.answers += 1
        await asyncio.sleep(self.think_time)
        return b"\r\nConnection: close\r\n" not in head


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("think_time", [0, 0.01])
@pytest.mark.parametrize("drained_first", [True, False], ids=["after a drain delay", "at once"])
async def test_no_request_of_keep_alive_clients_at_work_fails(router, stack, drained_first, think_time):
    servers = [HTTPServer(host="127.0.0.1", port=0, router=router) for _ in range(2)]
    for server in servers:
        await server.start()
        stack.push_async_callback(server.stop, 0)
    clients = Balanced(servers, think_time)
    asking = asyncio.create_task(clients.run(connections=50))

    async def answered(count):
        target = clients.answers + count
        async with asyncio.timeout(3 * LONG):
            while clients.answers < target and not asking.done():
                await asyncio.sleep(0)

    await answered(300)
    if drained_first:
        servers[0].begin_drain()
        await answered(300)
    stopped = await servers[0].stop(LONG)
    assert stopped.cut == 0
    await answered(300)
    clients.over.set()
    await asking  # raises what any client met
    assert servers[1].in_flight == 0
