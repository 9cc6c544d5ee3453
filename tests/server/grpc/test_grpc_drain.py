"""No call is lost when one of two busy servers drains and stops, behind a balancer that learns of it late."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
import pytest

from eggycore.server.grpc import GRPCServer
from tests.server.grpc.echo import Client, Echo

DRAIN_DELAY = 0.6
"""Seconds between the beginning of the drain and the stop."""

CLIENTS = 20


class Balancer:
    """Forwards each new TCP connection to the next target, and never moves one."""

    def __init__(self) -> None:
        self.targets: list[tuple[str, int]] = []
        self._next = 0

    async def start(self, stack: AsyncExitStack) -> tuple[str, int]:
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        stack.push_async_callback(self._stop, server)
        host, port = server.sockets[0].getsockname()
        return host, port

    async def _stop(self, server: asyncio.Server) -> None:
        server.close()
        await server.wait_closed()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._next += 1
        try:
            there = await asyncio.open_connection(*self.targets[self._next % len(self.targets)])
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


class Busy(Echo):
    """Takes a little time for every answer."""

    async def One(self, request: bytes, context: Any) -> bytes:
        await asyncio.sleep(0.001)
        return request

    async def Many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(10):
            await asyncio.sleep(0.001)
            yield request


class Load:
    """Clients that call without a pause, each on a channel of its own; odd ones stream."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._over = False
        self.answered = 0
        self.failures: Counter[str] = Counter()

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._call(number % 2 == 1)) for number in range(CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _call(self, streams: bool) -> None:
        client = Client(self._address)
        try:
            while not self._over:
                await self._call_once(client, streams)
        finally:
            await client.close()

    async def _call_once(self, client: Client, streams: bool) -> None:
        try:
            if streams:
                assert len([answer async for answer in client.many(b"a")]) == 10
            else:
                assert await client.one(b"a") == b"a"
            self.answered += 1
        except grpc.aio.AioRpcError as error:
            self.failures[f"{'stream' if streams else 'unary'} {error.code().name} {error.details()}"] += 1


async def _passed(seconds: float) -> None:
    """Wait until so much time has passed; the drain delay is the subject here."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()


@pytest.mark.parametrize("lag", [0.0, DRAIN_DELAY * 0.6, DRAIN_DELAY * 0.95])
async def test_no_call_is_lost_when_the_balancer_learns_of_the_drain_late(
    serve: Any, stack: AsyncExitStack, lag: float
) -> None:
    servers: list[GRPCServer] = [await serve(Busy(), drain_delay=DRAIN_DELAY, access_log=False) for _ in range(3)]
    balancer = Balancer()
    balancer.targets = [server.address for server in servers]
    address = await balancer.start(stack)
    async with Load(address) as load:
        while load.answered < CLIENTS:
            await _passed(0.01)
        for leaving in servers[:2]:
            leaving.begin_drain()
            await _passed(lag)
            balancer.targets.remove(leaving.address)
            await _passed(DRAIN_DELAY - lag)
            stopped = await leaving.stop(10)
            assert stopped.cut == 0
        answered = load.answered
        while load.answered < answered + CLIENTS:
            await _passed(0.01)

    assert load.failures == {}
