"""Draining and stopping lose no request; what takes too long is cut, and counted."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from eggycore.server import acceptor
from eggycore.server.http import HTTPServer
from eggycore.server.stopped import Stopped
from eggycore.web import draining

LONG = 10.0


@pytest.fixture
def hello(router):
    async def hello(request):
        return {"hello": "world"}

    router.get("/", hello)


class Gate:
    """A handler that waits until it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()

    async def __call__(self, request):
        self.entered.set()
        await self.leave.wait()
        return {}


@pytest.fixture
async def gate(router):
    gate = Gate()
    router.get("/gate", gate)
    yield gate
    gate.leave.set()


async def turns(count=20):
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


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


async def test_what_is_in_flight_is_finished_and_nobody_else_is_let_in(server, start, connect, gate):
    await start()
    client = await connect()
    await client.send("/gate")
    await gate.entered.wait()
    stopping = asyncio.create_task(server.stop(LONG))
    while server._acceptor._listening:
        await asyncio.sleep(0)
    await turns()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*server.address)
    gate.leave.set()
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert await stopping == server.stopped == Stopped(finished=1, cut=0)
    assert server.in_flight == 0


@pytest.mark.usefixtures("hello")
async def test_idle_connections_are_closed(server, start, connect):
    await start()
    used, fresh = await connect(), await connect()
    await used.get("/")
    assert await server.stop(LONG) == Stopped(finished=0, cut=0)
    assert await used.closed()
    assert await fresh.closed()


@pytest.mark.usefixtures("hello")
async def test_a_client_at_work_is_answered_and_sent_elsewhere(server, start, connect, monkeypatch):
    monkeypatch.setattr(acceptor, "QUIET_GRACE", LONG)
    await start()
    client = await connect()
    await client.get("/")
    stopping = asyncio.create_task(server.stop(LONG))
    while server._acceptor._listening:
        await asyncio.sleep(0)
    await turns()
    reply = await client.get("/")
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert await stopping == Stopped(finished=1, cut=0)


@pytest.mark.usefixtures("hello")
async def test_the_first_request_of_an_accepted_connection_is_waited_for(server, start, connect, monkeypatch):
    monkeypatch.setattr(acceptor, "FIRST_REQUEST_GRACE", LONG)
    await start()
    client = await connect()
    await client.send_raw(b"GET / HT")
    stopping = asyncio.create_task(server.stop(LONG))
    while server._acceptor._listening:
        await asyncio.sleep(0)
    await turns()
    await client.send_raw(b"TP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.reply()).status == 200
    assert await stopping == Stopped(finished=1, cut=0)


def blocking_client(address):
    client = socket.create_connection(address, timeout=LONG)
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


async def answer_to(client):
    with client:
        return (await asyncio.to_thread(client.recv, 12)).decode()


@pytest.mark.usefixtures("hello")
async def test_clients_that_only_the_kernel_knows_are_answered(server, start):
    await start()
    clients = [blocking_client(server.address) for _ in range(50)]  # the event loop had no turn to accept them
    assert await server.stop(LONG) == Stopped(finished=50, cut=0)
    assert {await answer_to(client) for client in clients} == {"HTTP/1.1 200"}


@pytest.mark.usefixtures("hello")
async def test_a_request_that_only_the_kernel_has_keeps_its_connection_open(server, start, monkeypatch):
    monkeypatch.setattr(acceptor, "QUIET_GRACE", 0.0)
    monkeypatch.setattr(acceptor, "FIRST_REQUEST_GRACE", 0.0)
    await start()
    clients = [socket.create_connection(server.address, timeout=LONG) for _ in range(50)]
    while len(server._acceptor.connections) < 50:
        await asyncio.sleep(0)
    await turns()
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    connections = server._acceptor._open()
    assert not any(acceptor._is_done_with(connection, float("inf")) for connection in connections)
    assert await server.stop(LONG) == Stopped(finished=50, cut=0)
    assert {await answer_to(client) for client in clients} == {"HTTP/1.1 200"}


async def test_what_takes_too_long_is_cut_and_told_so(server, start, connect, gate, lines):
    await start()
    client = await connect()
    await client.send("/gate")
    await gate.entered.wait()
    assert await server.stop(0) == Stopped(finished=0, cut=1)
    reply = await client.reply()
    assert (reply.status, reply.headers["retry-after"], reply.headers["connection"]) == (503, "1", "close")
    assert reply.json == {
        "title": "Stopping",
        "status": 503,
        "detail": "The server is stopping; send the request again.",
    }
    assert [line["path"] for line in lines.all("request cut")] == ["/gate"]
    assert [line["status"] for line in lines.all("request")] == [503]


async def test_a_stream_that_does_not_end_is_cut_and_breaks_off(server, router, start, connect):
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"tick")
        await asyncio.Event().wait()

    router.get("/", endless)
    await start()
    client = await connect()
    await client.begin("/")
    assert await server.stop(0) == Stopped(finished=0, cut=1)
    async with asyncio.timeout(LONG):
        assert await client.reader.read() == b"4\r\ntick\r\n", "no last chunk"


async def test_a_handler_that_ignores_being_cut_holds_nothing_up(server, router, start, connect, monkeypatch):
    monkeypatch.setattr(acceptor, "CLEAN_UP", 0.05)
    entered, over = asyncio.Event(), asyncio.Event()

    async def stubborn(request):
        entered.set()
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    router.get("/", stubborn)
    await start()
    client = await connect()
    await client.send("/")
    await entered.wait()
    assert await server.stop(0) == Stopped(finished=0, cut=1)
    assert await client.closed()
    over.set()
    await turns()


async def test_an_answer_that_nobody_reads_is_cut(server, router, start, connect):
    async def large(request):
        return web.Response(body=b"x" * 50_000_000)

    router.get("/", large)
    await start()
    client = await connect()
    await client.begin("/")
    client.writer.transport.pause_reading()
    assert (await server.stop(0)).cut == 1
    client.writer.transport.resume_reading()


async def test_a_stop_that_is_cancelled_cuts_at_once(server, start, connect, gate):
    await start()
    client = await connect()
    await client.send("/gate")
    await gate.entered.wait()
    stopping = asyncio.create_task(server.stop())
    await turns()
    stopping.cancel()
    assert (await client.reply()).status == 503
    with pytest.raises(asyncio.CancelledError):
        await stopping


async def test_stop_is_idempotent_and_legal_before_the_start(server, start, connect, gate):
    assert await server.stop(LONG) == Stopped(finished=0, cut=0)
    await start()
    client = await connect()
    await client.send("/gate")
    await gate.entered.wait()
    both = asyncio.gather(server.stop(LONG), server.stop(LONG))
    await turns()
    gate.leave.set()
    assert await both == [Stopped(finished=1, cut=0)] * 2
    assert await server.stop(LONG) == Stopped(finished=1, cut=0)


class FakeControl:
    name = "http"

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self.stopping = asyncio.Event()
        self.serving = asyncio.Event()

    def started(self) -> None:
        self.serving.set()


@pytest.mark.usefixtures("hello")
async def test_as_a_service_it_starts_drains_and_stops_when_told(server, connect):
    addresses = []
    service = server.as_service(on_bound=addresses.append)
    assert (service.name, service.stage) == ("http", "edge")
    control = FakeControl()
    running = asyncio.create_task(service.run(control))
    await control.serving.wait()
    assert addresses == [server.address]
    client = await connect()
    assert "connection" not in (await client.get("/")).headers
    control.draining.set()
    await turns()
    assert (await client.get("/")).headers["connection"] == "close"
    control.stopping.set()
    async with asyncio.timeout(LONG):
        await running
    assert server.stopped == Stopped(finished=0, cut=0)


async def test_a_service_that_is_cancelled_cuts_what_is_in_flight(server, connect, gate):
    control = FakeControl()
    running = asyncio.create_task(server.as_service().run(control))
    await control.serving.wait()
    client = await connect()
    await client.send("/gate")
    await gate.entered.wait()
    control.stopping.set()
    await turns()
    running.cancel()
    assert (await client.reply()).status == 503
    with pytest.raises(asyncio.CancelledError):
        await running
    assert server.in_flight == 0


async def test_a_service_with_a_time_limit_cuts_by_itself(server, connect, gate):
    control = FakeControl()
    running = asyncio.create_task(server.as_service(stop_timeout=0).run(control))
    await control.serving.wait()
    client = await connect()
    await client.send("/gate")
    await gate.entered.wait()
    control.stopping.set()
    assert (await client.reply()).status == 503
    await running
    assert server.stopped == Stopped(finished=0, cut=1)


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
