"""Requests over real sockets: what is answered, on the plain application and on one that was added to."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from aiohttp import web

from eggycore.resources import ResourceMissing, Resources
from eggycore.server.http import HTTPServer


class Database:
    title = "Survey"


async def test_a_handler_answers_with_its_resources(server, router, start, connect):
    async def read(request, db: Database):
        return {"id": request.match_info["id"], "title": db.title}

    server._resources.provide(Database, Database())
    router.get("/forms/{id}", read)
    await start()
    reply = await (await connect()).get("/forms/7")
    assert (reply.status, reply.json) == (200, {"id": "7", "title": "Survey"})
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.usefixtures("any_server")
async def test_an_answer_has_every_header_that_belongs_to_it(router, start, connect):
    async def read(request):
        return web.Response(body=b"abc", headers={"X-Own": "1", "Content-Type": "text/x-own"})

    async def json_read(request):
        return {"a": 1}

    router.get("/", read)
    router.get("/json", json_read)
    await start()
    client = await connect()
    reply = await client.get("/json")
    assert set(reply.headers) == {"content-type", "content-length", "date", "server", "x-request-id"}
    assert (reply.headers["content-type"], reply.headers["content-length"]) == ("application/json", "7")
    reply = await client.get("/")
    assert reply.body == b"abc"
    assert set(reply.headers) == {"x-own", "content-type", "content-length", "date", "server", "x-request-id"}
    assert (reply.headers["content-type"], reply.headers["content-length"]) == ("text/x-own", "3")


@pytest.mark.usefixtures("any_server")
async def test_cookies_compression_and_bodies_without_a_type_are_sent_as_aiohttp_sends_them(router, start, connect):
    async def cookie(request):
        response = web.Response(text="hello")
        response.set_cookie("a", "b")
        return response

    async def squeezed(request):
        response = web.Response(text="a" * 1000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async def untyped(request):
        return web.Response(body=b"abc")

    async def empty(request):
        return None

    router.get("/cookie", cookie)
    router.get("/squeezed", squeezed)
    router.get("/untyped", untyped)
    router.get("/empty", empty)
    await start()
    client = await connect()
    assert (await client.get("/cookie")).headers["set-cookie"] == "a=b; Path=/"
    reply = await client.get("/squeezed")
    assert (reply.headers["content-encoding"], len(reply.body) < 100) == ("gzip", True)
    assert (await client.get("/untyped")).headers["content-type"] == "application/octet-stream"
    reply = await client.get("/empty")
    assert (reply.status, "content-length" in reply.headers) == (204, False)


@pytest.mark.usefixtures("any_server")
async def test_what_a_middleware_changes_about_an_answer_is_sent(router, start, connect):
    async def change(request, handler):
        response = await handler(request)
        response.set_status(203)
        response.set_cookie("a", "b")
        response.headers["X-Own"] = "1"
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async def read(request):
        return {"a": "a" * 1000}

    router.group("", change).get("/", read)
    await start()
    reply = await (await connect()).get("/", "X-Request-ID: abc")
    assert (reply.status, reply.headers["x-own"], reply.headers["set-cookie"]) == (203, "1", "a=b; Path=/")
    assert (reply.headers["content-encoding"], reply.headers["x-request-id"]) == ("gzip", "abc")
    assert json.loads(gzip.decompress(reply.body)) == {"a": "a" * 1000}


async def test_an_answer_that_nobody_looks_at_is_never_completed(router, start, connect):
    answers = []

    async def keep(request, handler):
        answers.append(await handler(request))
        return answers[0]

    async def read(request):
        return {"a": 1}

    router.group("", keep).get("/", read)
    await start()
    client = await connect()
    assert [(await client.get("/")).json, (await client.get("/nowhere")).status] == [{"a": 1}, 404]
    assert set(vars(answers[0])) == {"_body", "_eof_sent", "_keep_alive"}, "what makes it cheap"


@pytest.mark.usefixtures("any_server")
async def test_a_client_that_reads_slowly_is_waited_for_not_buffered_for(server, router, start, connect):
    handled = []

    async def read(request):
        handled.append(request)
        return {"a": "a" * 60_000}

    router.get("/", read)
    await start()
    client = await connect()
    client.writer.transport.pause_reading()
    for _ in range(400):
        await client.send("/")
    [connection] = server._acceptor.connections
    async with asyncio.timeout(10):
        while not connection.writing_paused:
            await asyncio.sleep(0)
    for _ in range(5000):
        await asyncio.sleep(0)
    assert len(handled) < 400
    client.writer.transport.resume_reading()
    replies = [await client.reply() for _ in range(400)]
    assert {len(reply.body) for reply in replies} == {60_008}


async def test_get_answers_head_without_a_body(router, start, connect):
    async def read(request):
        return {"a": 1}

    router.get("/", read)
    await start()
    client = await connect()
    reply = await client.get("/", method="HEAD")
    assert (reply.status, reply.headers["content-length"], reply.body) == (200, "7", b"")
    assert (await client.get("/")).json == {"a": 1}


async def test_a_handler_for_every_method_leaves_those_with_one_of_their_own(server, start, connect):
    async def any_method(request):
        return {"any": request.method}

    async def get(request):
        return {"get": request.method}

    server.handle_func("/x", any_method)
    server.handle("GET", "/x", get)
    await start()
    client = await connect()
    assert (await client.get("/x")).json == {"get": "GET"}
    assert (await client.get("/x", method="POST")).json == {"any": "POST"}


@pytest.mark.usefixtures("any_server")
async def test_a_client_that_asks_before_it_sends_a_body_is_told_to_go_on(router, start, connect):
    async def write(request):
        return {"got": (await request.read()).decode()}

    router.post("/", write)
    await start()
    client = await connect()
    await client.send_raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send_raw(b"abc")
    assert (await client.reply()).json == {"got": "abc"}


async def test_an_old_client_is_answered_in_its_version(router, start, connect):
    async def read(request):
        return {}

    router.get("/", read)
    await start()
    client = await connect()
    await client.send_raw(b"GET / HTTP/1.0\r\n\r\n")
    reply = await client.reply()
    assert (reply.status, "connection" in reply.headers) == (200, False)
    assert await client.closed()


async def test_group_middlewares_run_for_their_group_only(router, start, connect):
    async def guard(request, handler):
        raise web.HTTPForbidden

    async def read(request):
        return {}

    router.group("/closed", guard).get("/x", read)
    router.get("/open", read)
    await start()
    client = await connect()
    assert (await client.get("/closed/x")).status == 403
    assert (await client.get("/open")).status == 200


async def test_aiohttps_application_is_ours_to_extend(server, router, start, connect, stack):
    async def ours(request):
        return {}

    async def theirs(request):
        return web.Response(text=request.app.get("name", "no name"))

    life = []

    async def context(app):
        life.append("up")
        yield
        life.append("down")

    below = web.Application()
    below.router.add_get("/x", theirs)
    server.app.add_subapp("/below", below)
    server.app.router.add_get("/theirs", theirs)
    server.app.cleanup_ctx.append(context)
    router.get("/ours", ours)
    await start()
    client = await connect()
    assert [(await client.get(path)).status for path in ("/ours", "/theirs", "/below/x")] == [200, 200, 200]
    await server.stop(0)
    assert life == ["up", "down"]


async def test_a_server_with_a_missing_resource_does_not_start_and_leaves_the_port(stack):
    async def read(request, db: Database): ...

    first = HTTPServer(host="127.0.0.1", port=0, resources=Resources())
    first.handle("GET", "/", read)
    with pytest.raises(ResourceMissing):
        await first.start()
    assert first.in_flight == 0
    assert (await first.stop(0)).finished == 0
    with pytest.raises(RuntimeError, match="the HTTP server 'http' has not been started"):
        first.address  # noqa: B018  # reading it raises


async def test_a_server_starts_once(start, server):
    await start()
    with pytest.raises(RuntimeError, match="the HTTP server 'http' has been started before"):
        await server.start()


async def test_the_header_server_names_no_versions_however_an_answer_is_sent(server, router, start, connect):
    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        return response

    async def plain(request):
        return web.Response(text="x")

    async def own(request):
        return web.Response(text="x", headers={"Server": "mine"})

    async def general(request):
        response = web.Response(text="x")
        response.set_cookie("a", "b")
        return response

    async def as_json(request):
        return {}

    async def problem(request):
        raise web.HTTPConflict

    for handler in (stream, plain, own, general, as_json, problem):
        router.get(f"/{handler.__name__}", handler)
    await start()
    client = await connect()
    for path in ("/stream", "/plain", "/general", "/as_json", "/problem", "/nowhere"):
        assert (await client.get(path)).headers["server"] == "eggycore", path
    assert (await client.get("/own")).headers["server"] == "mine"
    await client.send_raw(b"this is not HTTP\r\n\r\n")
    reply = await client.reply()
    assert (reply.status, reply.headers["server"]) == (400, "eggycore")
