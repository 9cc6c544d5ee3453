"""Servers and clients that are stopped when the test is over, and the lines that were logged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest

from eggycore.log.context import CONTEXT
from eggycore.server.grpc import GRPCServer
from tests.server.grpc.echo import Client, echo_server


class Line(NamedTuple):
    """A logged line: its level, its message, its fields and those of the context."""

    level: str
    message: str
    fields: Mapping[str, Any]


class Lines(list[Line]):
    """What was logged so far; an access line may come a moment after the client has its answer."""

    def __init__(self) -> None:
        self._more = asyncio.Event()

    def append(self, line: Line) -> None:
        super().append(line)
        self._more.set()

    async def first(self, count: int) -> list[Line]:
        """The first so many lines, and that there are no more yet."""
        async with asyncio.timeout(5):
            while len(self) < count:
                self._more.clear()
                await self._more.wait()
        assert len(self) == count
        return list(self)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """What the server logs, without the line that says where it listens."""
    logged = Lines()

    def write(level: str, message: str, fields: Mapping[str, Any]) -> None:
        if message != "listening":
            logged.append(Line(level, message, {**CONTEXT.get(), **fields}))

    monkeypatch.setattr("eggycore.log.write", write)
    monkeypatch.setattr("eggycore.log.info", lambda message, /, **fields: write("info", message, fields))
    monkeypatch.setattr("eggycore.log.warn", lambda message, /, **fields: write("warn", message, fields))
    monkeypatch.setattr("eggycore.log.error", lambda message, /, **fields: write("error", message, fields))
    yield logged
    logged.clear()  # exceptions hold their frames, and with them the server's sockets


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes what the test has opened, the last first."""
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def serve(stack: AsyncExitStack) -> Callable[..., Awaitable[GRPCServer]]:
    """Start a server of a servicer; it is stopped at the end."""

    async def start(servicer: Any = None, **options: Any) -> GRPCServer:
        server = echo_server(servicer, **options)
        await server.start()
        stack.push_async_callback(server.stop, 1)
        return server

    return start


@pytest.fixture
def connect(stack: AsyncExitStack) -> Callable[..., Client]:
    """A client with a connection of its own; it is closed at the end."""

    def open_client(server: GRPCServer, **options: int) -> Client:
        client = Client(server.address, **options)
        stack.push_async_callback(client.close)
        return client

    return open_client
