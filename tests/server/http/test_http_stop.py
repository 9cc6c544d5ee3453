"""Stopping finishes what is in flight and whoever is on the way; what takes too long is cut, and counted."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from eggycore.server import acceptor
from eggycore.server.stopped import Stopped
from tests.server.http.driving import LONG, turns


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
    assert server.stopped == Stopped(finished=0, cut=1)


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
