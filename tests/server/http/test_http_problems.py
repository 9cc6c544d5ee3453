"""What clients are told when something goes wrong, and what the log is."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

import pytest
from aiohttp import web

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import Unavailable
from eggycore.server.http import HTTPServer
from eggycore.server.settings import HTTPSettings
from eggycore.web.responses import Problem, read_json

PROBLEM = "application/problem+json"


@pytest.fixture
def server(router, metrics):
    return HTTPServer(
        host="127.0.0.1", port=0, router=router, metrics=metrics, settings=HTTPSettings(max_body_size=100)
    )


@pytest.fixture
def answering(router, start, connect):
    """Start a server whose one route does this, and connect to it."""

    async def answering(handler, method="GET"):
        router.route(method, "/", handler)
        await start()
        return await connect()

    return answering


async def test_a_problem_is_answered_as_it_is(answering):
    async def read(request):
        raise Problem(409, "Taken", "There is one already.", form="7", headers={"Retry-After": "1"})

    reply = await (await answering(read)).get("/", "X-Request-ID: abc")
    assert reply.status == 409
    assert reply.json == {"title": "Taken", "status": 409, "detail": "There is one already.", "form": "7"}
    assert reply.headers["content-type"] == PROBLEM
    assert (reply.headers["retry-after"], reply.headers["x-request-id"]) == ("1", "abc")


@pytest.mark.parametrize("error", [web.HTTPNotFound, web.HTTPNotFound()])
async def test_an_exception_of_aiohttp_is_answered_as_a_problem(answering, error):
    async def read(request):
        raise error

    reply = await (await answering(read)).get("/")
    assert (reply.status, reply.json) == (404, {"title": "Not Found", "status": 404})
    assert reply.headers["content-type"] == PROBLEM


async def test_a_redirect_is_no_problem(answering):
    async def read(request):
        raise web.HTTPSeeOther("/elsewhere")

    reply = await (await answering(read)).get("/")
    assert (reply.status, reply.headers["location"]) == (303, "/elsewhere")


async def test_an_unknown_path_and_an_unknown_method_are_problems(answering):
    async def read(request):
        return {}

    client = await answering(read)
    reply = await client.get("/nowhere")
    assert (reply.status, reply.json) == (404, {"title": "Not Found", "status": 404})
    reply = await client.get("/", method="POST", body=b"{}")
    assert (reply.status, reply.json) == (405, {"title": "Method Not Allowed", "status": 405})
    assert reply.headers["allow"] == "GET,HEAD"
    assert reply.headers["content-type"] == PROBLEM


async def test_a_body_that_is_too_long_is_a_problem(answering):
    async def write(request):
        return {"got": await read_json(request)}

    client = await answering(write, "POST")
    assert (await client.get("/", method="POST", body=b'"' + b"x" * 98 + b'"')).status == 200
    reply = await client.get("/", method="POST", body=b'"' + b"x" * 99 + b'"')
    assert reply.status == 413
    assert reply.json == {
        "title": "Request Entity Too Large",
        "status": 413,
        "detail": "Maximum request body size 100 exceeded.",
    }


async def test_a_body_that_is_not_json_is_a_problem(answering):
    async def write(request):
        return {"got": await read_json(request)}

    reply = await (await answering(write, "POST")).get("/", method="POST", body=b"{")
    assert (reply.status, reply.json["title"]) == (400, "Not JSON")


async def test_a_handler_that_fails_tells_clients_nothing_and_the_log_everything(answering, lines):
    async def read(request):
        raise ValueError("the password is hunter2")

    client = await answering(read)
    reply = await client.get("/", "X-Request-ID: abc")
    assert reply.status == 500
    assert reply.json == {"title": "Internal Server Error", "status": 500, "request_id": "abc"}
    [line] = lines.all("request failed")
    assert (line["level"], line["request_id"], line["method"], line["path"]) == ("error", "abc", "GET", "/")
    assert line["exception"]["type"] == "ValueError"
    [line] = await lines.wait("request")
    assert line["status"] == 500
    assert (await client.get("/")).status == 500, "the connection is still good"


@dataclass(eq=False)
class StoreAway(Unavailable):
    """An error of this test."""

    host: str


@diagnose.register
def _(error: StoreAway) -> Diagnosis:
    return Diagnosis(description="The store does not answer.", cause=f"{error.host} is away.", action="Start it.")


async def test_what_is_unavailable_now_is_answered_503_and_warned_of_without_a_stack(answering, lines):
    async def read(request):
        raise StoreAway("db-7")

    client = await answering(read)
    reply = await client.get("/", "X-Request-ID: abc")
    assert reply.status == 503
    assert reply.json == {"title": "Service Unavailable", "status": 503, "detail": "The store does not answer."}
    assert (reply.headers["content-type"], reply.headers["retry-after"]) == (PROBLEM, "1")
    assert reply.headers["x-request-id"] == "abc"
    [line] = lines.all("request not served")
    assert (line["level"], line["request_id"], line["method"], line["path"]) == ("warn", "abc", "GET", "/")
    assert line["reason"] == "The store does not answer."
    assert "exception" not in line
    [line] = await lines.wait("request")
    assert line["status"] == 503
    assert (await client.get("/")).status == 503, "the connection is still good"


@dataclass(eq=False)
class ShelfAway(Unavailable):
    """Another one, whose description is the test's own: what was said of it lately counts."""

    name: str


@diagnose.register
def _(error: ShelfAway) -> Diagnosis:
    return Diagnosis(description=f"Shelf {error.name} does not answer.")


async def test_an_outage_does_not_flood_the_log(answering, lines):
    name = uuid.uuid4().hex

    async def read(request):
        raise ShelfAway(name)

    client = await answering(read)
    for _ in range(100):
        assert (await client.get("/")).status == 503
    assert 1 <= len(lines.all("request not served")) <= 50, "five a second, and a hundred requests take no ten"


async def test_a_handler_that_exits_fails_its_request_and_not_the_process(answering, lines):
    async def read(request):
        raise SystemExit(3)

    client = await answering(read)
    assert (await client.get("/")).status == 500
    assert lines.all("request failed")[0]["exception"]["type"] == "SystemExit"
    assert (await client.get("/")).status == 500, "the server is still there"


async def test_an_exception_that_is_returned_is_as_good_as_one_that_is_raised(answering):
    async def read(request):
        return web.HTTPNotFound()

    reply = await (await answering(read)).get("/")
    assert (reply.status, reply.json) == (404, {"title": "Not Found", "status": 404})


async def test_what_is_no_answer_is_an_error_with_its_reason_in_the_log(answering, lines):
    async def read(request):
        return "text"

    assert (await (await answering(read)).get("/")).status == 500
    assert lines.all("request failed")[0]["exception"]["type"] == "eggycore.web.responses.UnusableAnswer"


async def test_what_json_cannot_hold_is_an_error(answering, lines):
    async def read(request):
        return {"x": object()}

    assert (await (await answering(read)).get("/")).status == 500
    assert lines.all("request failed")[0]["exception"]["type"] == "TypeError"


async def test_a_database_that_refuses_connections_is_an_error_not_a_client_that_left(answering, lines):
    async def read(request):
        raise ConnectionRefusedError("no database")

    assert (await (await answering(read)).get("/")).status == 500
    assert lines.all("request failed")[0]["exception"]["type"] == "ConnectionRefusedError"


async def test_a_handler_that_awaits_something_cancelled_is_an_error_not_a_lost_connection(answering, lines):
    async def read(request):
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    assert (await (await answering(read)).get("/")).status == 500
    assert lines.all("request failed")[0]["exception"]["type"] == "asyncio.exceptions.CancelledError"


async def test_a_header_that_cannot_be_sent_is_an_error(answering, lines):
    async def read(request):
        return web.Response(text="x", headers={"X-Bad": "a\r\nSet-Cookie: b"})

    reply = await (await answering(read)).get("/")
    assert (reply.status, "set-cookie" in reply.headers) == (500, False)
    assert lines.all("request failed")[0]["exception"]["type"] == "ValueError"


async def test_an_exception_whose_header_cannot_be_sent_is_an_error_too(answering, lines):
    async def read(request):
        raise web.HTTPBadRequest(headers={"X-Bad": "a\r\nSet-Cookie: b"})

    client = await answering(read)
    reply = await client.get("/")
    assert (reply.status, reply.json, "set-cookie" in reply.headers) == (
        500,
        {"title": "Internal Server Error", "status": 500},
        False,
    )
    assert lines.all("answer not sent")[0]["exception"]["type"] == "ValueError"
    assert await client.closed()


async def test_a_stream_that_fails_breaks_off_instead_of_seeming_complete(answering, lines, count_of):
    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        raise ValueError("no more")

    client = await answering(stream)
    status, headers = await client.begin("/")
    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    async with asyncio.timeout(10):
        assert await client.reader.read() == b"5\r\nbegun\r\n", "no last chunk"
    assert (await lines.wait("request"))[0]["status"] == 500
    assert count_of() == {("GET", "/", "500"): 1}


async def test_a_client_that_leaves_is_noted_and_its_handler_finishes(answering, lines, server):
    entered, leave = asyncio.Event(), asyncio.Event()
    finished = []

    async def slow(request):
        entered.set()
        await leave.wait()
        finished.append(True)
        return {}

    client = await answering(slow)
    await client.send("/")
    await entered.wait()
    await client.close()
    async with asyncio.timeout(10):
        while server._acceptor._open()[0].transport is not None:
            await asyncio.sleep(0)
    leave.set()
    [line] = await lines.wait("request")
    assert (line["status"], finished) == (499, [True])
    assert lines.all("request failed") == []


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n"],
    ids=["tls", "long"],
)
async def test_what_is_not_http_gets_a_problem_and_a_line_without_a_stack(answering, lines, count_of, garbage):
    async def read(request):
        return {}

    client = await answering(read)
    await client.send_raw(garbage)
    reply = await client.reply()
    assert reply.json == {
        "title": "Bad Request",
        "status": 400,
        "detail": "The request is not valid HTTP, or one of its lines is too long.",
    }
    assert reply.headers["content-type"] == PROBLEM
    assert await client.closed()
    [line] = await lines.wait("request")
    assert (line["status"], line["malformed"], line["remote"]) == (400, True, "127.0.0.1")
    assert [line for line in lines.all() if line["level"] not in ("info", "debug")] == []
    assert count_of() == {("*", "unmatched", "400"): 1}
