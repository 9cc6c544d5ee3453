"""The HTTP server as a service of the runtime."""

from __future__ import annotations

import asyncio

import pytest

from eggycore.server.stopped import Stopped
from tests.server.http.driving import LONG, turns


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
