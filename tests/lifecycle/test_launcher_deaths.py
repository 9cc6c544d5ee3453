"""What dies while it runs: services past their restarts, and initializers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.opening import InitializerDied
from eggycore.supervisor import ServiceDied
from eggycore.types import Control, Restart
from tests.lifecycle.launched import World


async def test_a_critical_service_past_its_restarts_ends_the_process():
    world = World()

    async def run(control: Control) -> None:
        control.started()
        await world.launcher.ready.wait()
        raise ValueError("no")

    world.initializer("database")
    world.service("tick", run=run, restart=Restart(backoff=0, backoff_max=0, limit=2))
    with pytest.raises(ServiceDied):
        await world.launcher.serve()
    assert [fields["restart_in"] for fields in world.log.of("service crashed")] == [0.0, 0.0, None]
    assert world.events == ["open database", "close database"]


async def test_a_crash_is_seen_in_readiness_until_the_service_is_back():
    world = World()
    crash, come_back, seen = asyncio.Event(), asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    async def run(control: Control) -> None:
        runs.append(1)
        if len(runs) > 1:
            seen.set()
            await come_back.wait()
        control.started()
        if len(runs) == 1:
            await crash.wait()
            raise ValueError
        await control.stopping.wait()

    back = asyncio.Event()
    world.service("tick", run=run, restart=Restart(backoff=0, backoff_max=0))
    serving = await world.until_ready()
    world.health.subscribe(lambda serves: back.set() if serves and come_back.is_set() else None)
    crash.set()
    await seen.wait()
    assert world.health.probe("ready").http_status == 503
    come_back.set()
    await back.wait()
    assert world.health.probe("ready").http_status == 200
    world.launcher.request_stop("the test")
    assert await serving == 0


async def test_a_dead_service_that_is_not_critical_shows_as_degraded():
    world = World()
    died = asyncio.Event()
    original = world.log.error

    def error(message: str, /, **fields: object) -> None:
        original(message, **fields)
        died.set()

    world.log.error = error

    async def run(control: Control) -> None:
        control.started()
        await world.launcher.ready.wait()
        raise ValueError

    world.service("tick", run=run, critical=False, restart=Restart(when="never"))
    serving = await world.until_ready()
    await died.wait()
    probe = world.health.probe("ready")
    assert (probe.status, probe.http_status) == ("DEGRADED", 200)
    world.launcher.request_stop("the test")
    assert await serving == 0


async def test_an_initializer_whose_inside_dies_ends_the_process():
    world = World()
    die = asyncio.Event()

    @asynccontextmanager
    async def open_() -> AsyncIterator[str]:
        async def reader() -> None:
            await die.wait()
            raise ValueError

        async with asyncio.TaskGroup() as group:
            group.create_task(reader())
            yield "open"

    world.initializer("stream", open=open_)
    serving = await world.until_ready()
    die.set()
    with pytest.raises(InitializerDied) as caught:
        await serving
    assert render(diagnose(caught.value)) == (
        "Initializer 'stream' of app shop ended by itself: it raised ExceptionGroup.\n"
        "  cause:  A task inside its context manager failed, and its resource is gone.\n"
        "  action: Read the error line with its stack above; let the resource recover, or move that task to a Service."
    )
