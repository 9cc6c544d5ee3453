"""Two instances under load, restarted by SIGTERM one after the other: no request and no call fails."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

Start = Callable[..., Awaitable[Any]]

RESTARTS = 10
HTTP_CLIENTS = 32
GRPC_CHANNELS = 10
BALANCER_LAG = 3.0
"""Seconds after which the TCP balancer believes that an instance is not ready any more."""


@dataclass
class Tally:
    """What clients saw."""

    done: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def ok(self, kind: str) -> None:
        self.done[kind] = self.done.get(kind, 0) + 1


async def read_response(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status of one response, and whether its connection stays open."""
    head = await reader.readuntil(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    await reader.readexactly(int(headers.get(b"content-length", b"0")))
    return int(head.split(b" ", 2)[1]), headers.get(b"connection") != b"close"


async def keep_alive_client(pick: Callable[[], tuple[str, int]], over: asyncio.Event, tally: Tally) -> None:
    """One connection at a time, kept as long as the server lets it and `pick` still names its server."""
    address, streams = None, None
    while not over.is_set():
        try:
            if streams is None or pick() != address:
                if streams is not None:
                    streams[1].close()
                address = pick()
                streams = await asyncio.open_connection(*address)
            streams[1].write(b"GET /work HTTP/1.1\r\nHost: test\r\n\r\n")
            status, stays = await read_response(streams[0])
        except (OSError, asyncio.IncompleteReadError) as error:
            tally.failed.append(f"http {type(error).__name__}: {error}")
            streams = None
            continue
        if status == 200:
            tally.ok("http")
        else:
            tally.failed.append(f"http status {status}")
        if not stays:
            streams[1].close()
            streams = None
    if streams is not None:
        streams[1].close()
        with suppress(OSError):
            await streams[1].wait_closed()


async def call_unary(channel: grpc.aio.Channel, tally: Tally) -> None:
    try:
        await channel.unary_unary("/busy.Busy/Unary")(b"x", timeout=20)
        tally.ok("unary")
    except grpc.aio.AioRpcError as error:
        tally.failed.append(f"unary {error.code().name}: {error.details()}")


async def call_stream(channel: grpc.aio.Channel, tally: Tally) -> None:
    try:
        count = 0
        async for _ in channel.unary_stream("/busy.Busy/Stream")(b"x", timeout=20):
            count += 1
        assert count == 10
        tally.ok("stream")
    except grpc.aio.AioRpcError as error:
        tally.failed.append(f"stream {error.code().name}: {error.details()}")


async def grpc_client(target: str, over: asyncio.Event, tally: Tally) -> None:
    """One channel, calls without a pause: two unary loops and one of streams."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:

        async def loop(call: Callable[[grpc.aio.Channel, Tally], Awaitable[None]]) -> None:
            while not over.is_set():
                await call(channel, tally)

        await asyncio.gather(loop(call_unary), loop(call_unary), loop(call_stream))


async def routed_grpc_client(pick: Callable[[], tuple[str, int]], over: asyncio.Event, tally: Tally) -> None:
    """One channel at a time, to the server that `pick` names; a unary call, then a stream, and so on."""
    while not over.is_set():
        address = pick()
        async with grpc.aio.insecure_channel(f"{address[0]}:{address[1]}") as channel:
            while not over.is_set() and pick() == address:
                await call_unary(channel, tally)
                await call_stream(channel, tally)


class Fleet:
    """Two instances of the busy app, replaced one by one."""

    def __init__(self, start: Start, drain_delay: float) -> None:
        self._start = start
        self._drain_delay = drain_delay
        self.instances: list[Any] = []
        self._readers: list[asyncio.Task[object]] = []

    async def grow(self) -> Any:
        instance = await self._start(
            "busy_app", "--plugins", "", SHUTDOWN_DRAIN_DELAY=f"{self._drain_delay}s", HTTP_ACCESS_LOG="false"
        )
        await instance.until("ready")
        self.instances.append(instance)
        return instance

    async def restart_oldest(self, before_end: Callable[[Any], None] = lambda instance: None) -> None:
        """Start a new one, then stop the oldest and wait until it has ended."""
        await self.grow()
        oldest = self.instances[0]
        oldest.signal(signal.SIGTERM)
        await oldest.until("stopping")
        before_end(oldest)
        self.instances.remove(oldest)
        assert await oldest.ended() == 0, oldest.lines
        (summary,) = oldest.said("stopped")
        assert summary["cut"] == 0


async def ready(instance: Any) -> bool:
    """What /readyz says."""
    try:
        reader, writer = await asyncio.open_connection(*instance.addresses["HEALTH_CHECK_PORT"])
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        status, _ = await read_response(reader)
        writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return False
    return status == 200


async def test_clients_that_route_by_readyz_lose_no_request(start: Start):
    fleet = Fleet(start, drain_delay=1.0)
    tally, over = Tally(), asyncio.Event()
    routed: list[Any] = [await fleet.grow(), await fleet.grow()]
    turn = itertools.count()

    def client(kind: str) -> Callable[[], tuple[str, int]]:
        number = next(turn)
        return lambda: routed[number % len(routed)].addresses[kind]

    async def route() -> None:
        while not over.is_set():
            for instance in [*routed, *fleet.instances]:
                if await ready(instance):
                    if instance not in routed:
                        routed.append(instance)
                elif instance in routed:
                    routed.remove(instance)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 0.05)

    async with asyncio.TaskGroup() as group:
        group.create_task(route())
        for _ in range(HTTP_CLIENTS):
            group.create_task(keep_alive_client(client("http"), over, tally))
        for _ in range(GRPC_CHANNELS):
            group.create_task(routed_grpc_client(client("grpc"), over, tally))
        for _ in range(RESTARTS):
            await fleet.restart_oldest()
        over.set()
    assert tally.failed == []
    assert tally.done["http"] > 1000
    assert tally.done["unary"] > 100
    assert tally.done["stream"] > 100


class Balancer:
    """A TCP balancer: picks a backend for each new connection, never moves one, and learns of readiness late."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.backends: list[tuple[str, int]] = []
        self._turn = itertools.count()
        self._pumps: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[str, int]]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[:2]
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps)

    def add(self, instance: Any) -> None:
        self.backends.append(instance.addresses[self.kind])

    def forget_late(self, instance: Any) -> None:
        address = instance.addresses[self.kind]
        asyncio.get_running_loop().call_later(BALANCER_LAG, self.backends.remove, address)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        backend = self.backends[next(self._turn) % len(self.backends)]
        try:
            there = await asyncio.open_connection(*backend)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, there[1]))
                group.create_task(_pump(there[0], writer))
        except OSError:
            pass  # the client sees its connection closed, and counts that as a failure
        except asyncio.CancelledError:
            pass  # the balancer ends: asyncio's streams would report a cancelled connection as an error
        finally:
            writer.close()
            self._pumps.discard(task)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass  # the other direction sees it too
    finally:
        sink.close()


async def test_clients_behind_a_tcp_balancer_that_learns_late_lose_nothing(start: Start):
    fleet = Fleet(start, drain_delay=5.0)
    tally, over = Tally(), asyncio.Event()
    http, calls = Balancer("http"), Balancer("grpc")
    async with http.serving() as http_address, calls.serving() as grpc_address:
        for _ in range(2):
            instance = await fleet.grow()
            http.add(instance)
            calls.add(instance)

        def learn(oldest: Any) -> None:
            for balancer in (http, calls):
                balancer.add(fleet.instances[-1])
                balancer.forget_late(oldest)

        async with asyncio.TaskGroup() as group:
            for _ in range(HTTP_CLIENTS):
                group.create_task(keep_alive_client(lambda: http_address, over, tally))
            for _ in range(GRPC_CHANNELS):
                group.create_task(grpc_client(f"{grpc_address[0]}:{grpc_address[1]}", over, tally))
            for _ in range(RESTARTS):
                await fleet.restart_oldest(learn)
            over.set()
    assert tally.failed == []
    assert tally.done["http"] > 1000
    assert tally.done["unary"] > 1000
    assert tally.done["stream"] > 100
