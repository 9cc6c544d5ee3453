"""Request ids, traces, log context, access lines and metrics of requests over real sockets."""

from __future__ import annotations

import asyncio
import re

import pytest
from aiohttp import web

from eggycore import log
from eggycore.log.context import CONTEXT
from eggycore.server.http import HTTPServer
from eggycore.server.settings import HTTPSettings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.usefixtures("any_server")
async def test_a_request_id_is_taken_over_and_another_made_when_it_is_none(router, start, connect):
    async def read(request):
        return {"id": log.request_id()}

    router.get("/", read)
    await start()
    client = await connect()
    reply = await client.get("/", "X-Request-ID: abc-123")
    assert (reply.headers["x-request-id"], reply.json) == ("abc-123", {"id": "abc-123"})
    made = [await client.get("/"), await client.get("/", f"X-Request-ID: {'x' * 129}")]
    assert all(re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"]) for reply in made)
    assert made[0].json == {"id": made[0].headers["x-request-id"]}
    assert made[0].headers["x-request-id"] != made[1].headers["x-request-id"]


@pytest.mark.usefixtures("any_server")
async def test_a_stream_has_its_request_id_too(router, start, connect):
    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a")
        await response.write(b"b")
        return response

    router.get("/", stream)
    await start()
    reply = await (await connect()).get("/", "X-Request-ID: abc")
    assert (reply.headers["x-request-id"], reply.body) == ("abc", b"ab")


async def test_the_trace_id_of_a_valid_traceparent_is_in_the_context(router, start, connect):
    async def read(request):
        return dict(CONTEXT.get())

    router.get("/", read)
    await start()
    client = await connect()
    reply = await client.get("/", "X-Request-ID: a", f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01")
    assert reply.json == {"request_id": "a", "trace_id": TRACE}
    assert (await client.get("/", "X-Request-ID: b", "traceparent: nonsense")).json == {"request_id": "b"}


async def test_the_context_of_one_request_is_not_seen_by_another(router, start, connect):
    met = asyncio.Barrier(2)

    async def read(request):
        await met.wait()
        return {"id": log.request_id()}

    router.get("/", read)
    await start()
    clients = [await connect(), await connect()]
    replies = await asyncio.gather(*(client.get("/", f"X-Request-ID: {n}") for n, client in enumerate(clients)))
    assert [reply.json["id"] for reply in replies] == ["0", "1"]


async def test_each_request_writes_one_line(router, start, connect, lines):
    async def read(request):
        return {"id": 7}

    router.get("/forms/{id}", read)
    await start()
    client = await connect()
    await client.get("/forms/7?token=hush", "X-Request-ID: abc", f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01")
    [line] = await lines.wait("request")
    assert line.pop("timestamp")
    assert 0 < line.pop("duration_ms") < 10_000
    assert 100 < line.pop("bytes") < 500
    assert line == {
        "level": "info",
        "message": "request",
        "service": "test",
        "environment": "test",
        "request_id": "abc",
        "trace_id": TRACE,
        "method": "GET",
        "path": "/forms/7",
        "route": "/forms/{id}",
        "status": 200,
        "remote": "127.0.0.1",
    }


@pytest.mark.parametrize(
    "options", [{"access_log": False}, {"settings": HTTPSettings(access_log=False)}], ids=["argument", "setting"]
)
async def test_access_lines_can_be_switched_off(options, lines, connect, stack, monkeypatch, server):
    async def read(request):
        return {}

    quiet = HTTPServer(host="127.0.0.1", port=0, **options)
    quiet.handle("GET", "/", read)
    await quiet.start()
    stack.push_async_callback(quiet.stop, 0)
    monkeypatch.setattr(server, "_address", quiet.address)
    client = await connect()
    assert (await client.get("/")).status == 200
    assert (await client.get("/")).status == 200  # the first one is over, and its line would be written
    assert lines.all("request") == []


async def test_requests_are_counted_by_method_route_template_and_status(router, start, connect, count_of, lines):
    async def read(request):
        return {}

    async def anything(request):
        return {}

    router.get("/forms/{id}", read)
    router.route("*", "/any", anything)
    await start()
    client = await connect()
    for number in range(3):
        await client.get(f"/forms/{number}")
    await client.get("/forms/1", method="HEAD")
    await client.get("/any", method="PURGE")
    await client.get("/any", method="PUT")
    await lines.wait("request", 6)
    assert count_of() == {
        ("GET", "/forms/{id}", "200"): 3,
        ("HEAD", "/forms/{id}", "200"): 1,
        ("_OTHER", "/any", "200"): 1,
        ("PUT", "/any", "200"): 1,
    }


async def test_what_no_route_answers_is_one_series(router, start, connect, count_of, lines):
    await start()
    client = await connect()
    for path in ("/a", "/b", "/c?d"):
        await client.get(path)
        await client.get(path, method="DELETE")
    assert {line["route"] for line in await lines.wait("request", 6)} == {"unmatched"}
    assert count_of() == {("*", "unmatched", "404"): 6}


async def test_the_requests_in_flight_are_counted(server, router, start, connect, metrics):
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(request):
        entered.set()
        await leave.wait()

    router.get("/", slow)
    await start()
    gauge = metrics.gauge("http_server_requests_in_flight", "Requests that are being answered now.", ("server",))
    client = await connect()
    await client.send("/")
    await entered.wait()
    assert (server.in_flight, gauge.labels("http").value) == (1, 1)
    leave.set()
    await client.reply()
    assert (server.in_flight, gauge.labels("http").value) == (0, 0)
