"""Servers on free ports, clients on bare sockets, and the lines that were logged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from eggycore import log
from eggycore.log.settings import LogSettings
from eggycore.metrics import Registry
from eggycore.server.http import HTTPServer
from eggycore.web.routes import Router
from tests.server.http.driving import LONG, Gate

uvloop.new_event_loop().close()  # libuv makes a pipe for the signals of the process with its first loop, and keeps it


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test runs on both event loops: they accept, close and hand over sockets differently."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One keep-alive connection; it shows what other clients hide."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def get(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> Reply:
        await self.send(path, *headers, method=method, body=body)
        return await self.reply(head=method == "HEAD")

    async def send(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers, "", ""]
        await self.send_raw("\r\n".join(lines).encode() + body)

    async def send_raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, head: bool = False) -> Reply:
        async with asyncio.timeout(LONG):
            status, headers = await self._head()
            if head or status in (204, 304):
                return Reply(status, headers, b"")
            if headers.get("transfer-encoding") == "chunked":
                return Reply(status, headers, b"".join([chunk async for chunk in self.chunks()]))
            return Reply(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def _head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in headers.items()}

    async def begin(self, path: str) -> tuple[int, dict[str, str]]:
        """Send a request and read no more than the head of its answer."""
        await self.send(path)
        async with asyncio.timeout(LONG):
            return await self._head()

    async def chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()

    async def closed(self) -> bool:
        """Wait until the server closes the connection; whether it did so without sending anything more."""
        async with asyncio.timeout(LONG):
            return await self.reader.read() == b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes what the test has opened, the last first."""
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def metrics() -> Registry:
    return Registry()


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
def server(router: Router, metrics: Registry) -> HTTPServer:
    """A server that has not been started."""
    return HTTPServer(host="127.0.0.1", port=0, router=router, metrics=metrics)


@pytest.fixture
def start(server: HTTPServer, stack: AsyncExitStack) -> Callable[[], Awaitable[HTTPServer]]:
    """Start the server; it is stopped at the end."""

    async def start() -> HTTPServer:
        await server.start()
        stack.push_async_callback(server.stop, 0)
        return server

    return start


@pytest.fixture
def connect(server: HTTPServer, stack: AsyncExitStack) -> Callable[[], Awaitable[Client]]:
    """Open a connection to the server."""

    async def connect() -> Client:
        client = Client(*await asyncio.open_connection(*server.address))
        stack.push_async_callback(client.close)
        return client

    return connect


class Lines:
    """What has been logged."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def all(self, message: str | None = None) -> list[dict[str, Any]]:
        """The lines logged so far, or those of them with this message."""
        log.flush(LONG)
        lines = [json.loads(line) for line in self._file.read_text().splitlines()]
        return [line for line in lines if message is None or line["message"] == message]

    async def wait(self, message: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for that many lines with this message: an answer arrives before its line is written."""
        async with asyncio.timeout(LONG):
            while len(found := self.all(message)) < count:
                await asyncio.sleep(0)
        return found


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    file = tmp_path / "log.jsonl"
    log.init("debug", "json", service="test", environment="test", settings=LogSettings(file=file))
    yield Lines(file)
    log.close()


@pytest.fixture
def count_of(metrics: Registry) -> Callable[..., dict[tuple[str, ...], int]]:
    """The number of requests by (method, route, status)."""

    def count_of() -> dict[tuple[str, ...], int]:
        family = next(f for f in metrics.collect() if f.name == "http_server_request_duration_seconds")
        return {sample.labels: sample.buckets[-1][1] for sample in family.samples}

    return count_of


@pytest.fixture
def hello(router):
    async def hello(request):
        return {"hello": "world"}

    router.get("/", hello)


@pytest.fixture
async def gate(router):
    gate = Gate()
    router.get("/gate", gate)
    yield gate
    gate.leave.set()


@pytest.fixture(params=["plain application", "with a middleware", "with a signal"])
def any_server(request, server, router):
    """The same behaviour is wanted on the fast way and on those of applications that somebody has added to."""
    seen = []

    @web.middleware
    async def middleware(request, handler):
        seen.append(request.path)
        return await handler(request)

    async def signal(request, response):
        seen.append(request.path)

    if request.param == "with a middleware":
        server.app.middlewares.append(middleware)
    if request.param == "with a signal":
        server.app.on_response_prepare.append(signal)
    yield server
    assert bool(seen) == (request.param != "plain application")
