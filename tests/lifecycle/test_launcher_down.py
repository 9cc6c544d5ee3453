"""The way down: budgets, cancellation, whatever closing raises, and the summary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.budgets import StartTimeout
from eggycore.launcher import Launcher
from eggycore.types import Control, Stage
from tests.lifecycle.launched import Log, World, ready_or_over, refused_times


async def test_what_overruns_is_named_and_the_rest_still_closes():
    world = World(shutdown=0.05)

    async def run(control: Control) -> None:
        control.started()
        await asyncio.Event().wait()

    world.initializer("database")
    world.service("stuck", run=run)
    serving = await world.until_ready()
    world.launcher.request_stop("the test")
    assert await serving == 1
    assert world.events == ["open database", "close database"]
    failed = world.log.of("failed to stop")[0]
    assert str(failed["reason"]).startswith("Service 'stuck' of app shop did not stop within 0.0")


async def test_cancelling_serve_closes_everything():
    world = World()
    world.initializer("database")
    world.service("tick")
    serving = await world.until_ready()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert world.events == ["open database", "start tick", "stop tick", "close database"]


async def test_cancelling_serve_on_the_way_down_closes_everything_all_the_same():
    world = World(drain_delay=0.1)
    world.initializer("database")
    serving = await world.until_ready()
    world.launcher.request_stop("SIGTERM")
    await world.launcher.draining.wait()
    for _ in range(2):
        serving.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert world.events == ["open database", "close database"]
    assert len(world.log.of("stopped")) == 1


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), SystemExit(3)])
async def test_whatever_closing_raises_the_rest_is_closed(error: BaseException):
    world = World()

    @asynccontextmanager
    async def open_() -> AsyncIterator[str]:
        yield "open"
        raise error

    world.initializer("database")
    world.initializer("queue", open=open_)
    serving = await world.until_ready()
    world.launcher.request_stop("SIGTERM")
    assert await serving == 1
    assert world.events == ["open database", "close database"]
    (failed,) = world.log.of("failed to close")
    assert failed["component"] == "queue"


async def test_one_that_never_closes_leaves_time_for_the_rest():
    world = World(shutdown=1.0)
    left: list[float] = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[str]:
        yield "open"
        left.append(deadline - asyncio.get_running_loop().time())

    @asynccontextmanager
    async def stuck() -> AsyncIterator[str]:
        yield "open"
        await asyncio.Event().wait()

    world.initializer("database", open=slow)
    world.initializer("queue", open=stuck)
    serving = await world.until_ready()
    deadline = asyncio.get_running_loop().time() + world.budgets.shutdown
    world.launcher.request_stop("SIGTERM")
    assert await serving == 1
    assert left[0] > 0.1
    (failed,) = world.log.of("failed to close")
    assert "did not close within 0.8 s" in str(failed["reason"])


async def test_what_was_half_open_has_the_budget_of_the_way_down_to_close():
    world = World()
    half_open = asyncio.Event()

    @asynccontextmanager
    async def open_() -> AsyncIterator[str]:
        try:
            half_open.set()
            await asyncio.Event().wait()
            yield "never"
        finally:
            await stopping.wait()
            world.events.append("close queue")

    world.initializer("database")
    world.initializer("queue", open=open_)
    stopping = world.launcher.draining
    serving = asyncio.create_task(world.launcher.serve())
    await half_open.wait()
    world.launcher.request_stop("SIGTERM")
    assert await serving == 0
    assert world.events == ["open database", "close queue", "close database"]
    closed = [span.component for span in world.launcher._timeline.spans if span.phase == "close"]
    assert closed == ["queue", "database"]


async def test_one_summary_line_says_how_it_ended():
    world = World()
    world.launcher.tally = lambda: (7, 2)
    serving = await world.until_ready()
    world.launcher.request_stop("SIGTERM")
    assert await serving == 1, "two were cut"
    (summary,) = world.log.of("stopped")
    seconds = summary.pop("seconds")
    assert isinstance(seconds, float)
    assert summary == {"reason": "SIGTERM", "finished": 7, "cut": 2}


async def test_holding_opens_everything_runs_nothing_and_gives_up_in_time():
    world = World(startup=0.05)
    world.initializer("database")
    world.service("tick")
    async with world.launcher.holding():
        assert world.events == ["open database"]
    assert world.events == ["open database", "close database"]

    world = World(startup=0.05)
    world.initializer("database")
    world.initializer("queue", open=refused_times(10**9, world.opens("queue")))
    with pytest.raises(StartTimeout):
        async with world.launcher.holding():
            pass
    assert world.events == ["open database", "close database"]


async def test_objects_in_the_style_of_the_go_library():
    events: list[str] = []

    class Database:
        async def init(self) -> None:
            events.append("init")

        async def close(self) -> None:
            events.append("close")

    class Server:
        async def start(self) -> None:
            events.append("start")

        async def stop(self) -> None:
            events.append("stop")

    launcher = Launcher()
    launcher.set_logger(Log())
    launcher.set_shutdown_timeout(3)
    launcher.add_service(Server())
    launcher.add_initializer(Database())
    serving = asyncio.create_task(launcher.serve())
    await ready_or_over(launcher, serving)
    launcher.request_stop("the test")
    assert await serving == 0
    assert events == ["init", "start", "stop", "close"]


@given(st.integers(0, 12), st.data())
def test_whatever_the_moment_of_the_stop_everything_opened_is_closed_in_reverse(moment: int, data: st.DataObject):
    stages: list[Stage] = ["probe", "work", "edge"]
    world = World()
    for index in range(data.draw(st.integers(0, 3))):
        world.initializer(f"i{index}")
    for index in range(data.draw(st.integers(0, 3))):
        world.service(f"s{index}", data.draw(st.sampled_from(stages)))

    async def stop_at_some_moment() -> int:
        serving = asyncio.create_task(world.launcher.serve())
        for _ in range(moment):
            await asyncio.sleep(0)
        world.launcher.request_stop("now")
        return await serving

    assert asyncio.run(stop_at_some_moment()) == 0
    opened = [event.removeprefix("open ") for event in world.events if event.startswith("open ")]
    closed = [event.removeprefix("close ") for event in world.events if event.startswith("close ")]
    assert closed == opened[::-1]
    started = {event.removeprefix("start ") for event in world.events if event.startswith("start ")}
    stopped = {event.removeprefix("stop ") for event in world.events if event.startswith("stop ")}
    assert started == stopped
