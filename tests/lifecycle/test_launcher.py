"""From nothing to nothing: order, readiness, failures on the way up, the way down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.budgets import Budgets, StartTimeout
from eggycore.diagnostics import Diagnosis, diagnose, explain, render
from eggycore.errors import NotUpYet
from eggycore.health import Health
from eggycore.launcher import Launcher
from eggycore.opening import InitializerDied
from eggycore.plan import Planned, make_plan
from eggycore.supervisor import ServiceDied
from eggycore.types import Control, HealthCheck, Initializer, Origin, Restart, Service, Stage

APP = Origin("shop", kind="app")


class Log:
    """Takes down what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, message: str, /, **fields: object) -> None:
        self.lines.append(("info", message, fields))

    def warn(self, message: str, /, **fields: object) -> None:
        self.lines.append(("warn", message, fields))

    def error(self, message: str, /, **fields: object) -> None:
        self.lines.append(("error", message, fields))

    def of(self, message: str) -> list[dict[str, object]]:
        return [fields for _, said, fields in self.lines if said == message]


class World:
    """Components that write down what happens to them, and a launcher of them."""

    def __init__(self, **budgets: float) -> None:
        self.events: list[str] = []
        self.initializers: list[Initializer[Any]] = []
        self.services: list[Service] = []
        self.checks: list[HealthCheck] = []
        self.budgets = Budgets(**budgets)
        self.health = Health()
        self.log = Log()
        self._launcher: Launcher | None = None

    @property
    def launcher(self) -> Launcher:
        if self._launcher is None:
            plan = make_plan(
                [Planned(one, APP) for one in self.initializers],
                [Planned(one, APP) for one in self.services],
                [Planned(one, APP) for one in self.checks],
            )
            self._launcher = Launcher(plan, budgets=self.budgets, health=self.health, rng=random.Random(0))
            self._launcher.set_logger(self.log)
        return self._launcher

    def initializer(self, name: str, **fields: Any) -> None:
        fields.setdefault("open", self.opens(name))
        self.initializers.append(Initializer(name=name, **fields))

    def opens(self, name: str) -> Callable[[], AbstractAsyncContextManager[str]]:
        @asynccontextmanager
        async def open_() -> AsyncIterator[str]:
            self.events.append(f"open {name}")
            try:
                yield name
            finally:
                self.events.append(f"close {name}")

        return open_

    def service(self, name: str, stage: Stage = "work", **fields: Any) -> None:
        async def run(control: Control) -> None:
            self.events.append(f"start {name}")
            control.started()
            await control.stopping.wait()
            self.events.append(f"stop {name}")

        fields.setdefault("run", run)
        self.services.append(Service(name=name, stage=stage, **fields))

    async def until_ready(self) -> asyncio.Task[int]:
        serving = asyncio.create_task(self.launcher.serve())
        await ready_or_over(self.launcher, serving)
        return serving


async def ready_or_over(launcher: Launcher, serving: asyncio.Task[int]) -> None:
    """Wait until it is READY; what ended it before is raised."""
    ready = asyncio.create_task(launcher.ready.wait())
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if serving.done():
        serving.result()


def refused_times(count: int, then: Callable[[], AbstractAsyncContextManager[str]]) -> Callable[[], Any]:
    left = [count]

    def open_() -> AbstractAsyncContextManager[str]:
        if left[0]:
            left[0] -= 1
            raise ConnectionRefusedError("nobody listens")
        return then()

    return open_


async def test_up_in_order_and_down_in_reverse():
    world = World()
    world.service("http", "edge")
    world.service("tick")
    world.service("probe", "probe")
    world.initializer("cache", requires=("database",))
    world.initializer("database")
    serving = await world.until_ready()
    world.launcher.request_stop("the test")
    assert await serving == 0
    assert world.events == [
        "start probe",
        "open database",
        "open cache",
        "start tick",
        "start http",
        "stop http",
        "stop tick",
        "close cache",
        "close database",
        "stop probe",
    ]


async def test_a_service_that_requires_another_starts_after_it_has_started():
    world = World()
    world.service("second", requires=("first",))
    world.service("first")
    serving = await world.until_ready()
    world.launcher.request_stop("the test")
    await serving
    assert world.events[:2] == ["start first", "start second"]


async def test_ready_comes_with_the_first_passed_critical_check():
    world = World()
    asked, answer = asyncio.Event(), asyncio.Event()

    async def check() -> None:
        asked.set()
        await answer.wait()

    world.checks.append(HealthCheck(name="database", check=check, timeout=60))
    serving = asyncio.create_task(world.launcher.serve())
    await asked.wait()
    assert not world.launcher.ready.is_set()
    assert world.health.probe("ready").http_status == 503
    answer.set()
    await ready_or_over(world.launcher, serving)
    assert world.health.probe("ready").http_status == 200
    world.launcher.request_stop("the test")
    assert await serving == 0


async def test_readiness_is_red_before_the_services_are_told_to_stop():
    world = World()
    seen: list[object] = []

    async def run(control: Control) -> None:
        control.started()
        await control.draining.wait()
        seen.append((world.health.probe("ready").http_status, world.health.probe("live").http_status))
        seen.append(control.stopping.is_set())
        await control.stopping.wait()

    world.service("http", "edge", run=run)
    world.budgets = Budgets(drain_delay=0.001)
    serving = await world.until_ready()
    world.launcher.request_stop("SIGTERM")
    await serving
    assert seen == [(503, 200), False]


async def test_a_stop_before_the_start_is_legal():
    world = World()
    world.initializer("database")
    world.launcher.request_stop("early")
    assert await world.launcher.serve() == 0
    assert world.events.count("open database") == world.events.count("close database")


async def test_a_failure_on_the_way_up_closes_what_is_open_and_raises_the_original_error():
    world = World()
    error = OSError("disk on fire")

    @asynccontextmanager
    async def open_() -> AsyncIterator[str]:
        raise error
        yield ""

    world.initializer("database")
    world.initializer("files", open=open_)
    world.service("probe", "probe")
    with pytest.raises(OSError) as caught:
        await world.launcher.serve()
    assert caught.value is error
    assert caught.value.__notes__ == ["It happened while opening initializer 'files' of app shop, attempt 1."]
    assert world.events == ["start probe", "open database", "close database", "stop probe"]


async def test_a_refused_connection_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("eggycore.launcher.RETRY_BACKOFF_MAX", 0.0)
    world = World()
    world.initializer("database", open=refused_times(3, world.opens("database")))
    serving = await world.until_ready()
    world.launcher.request_stop("the test")
    await serving
    assert [fields["attempt"] for fields in world.log.of("not up yet, trying again")] == [1, 2, 3]
    assert world.events == ["open database", "close database"]


async def test_attempts_bound_how_often_it_is_tried(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("eggycore.launcher.RETRY_BACKOFF_MAX", 0.0)
    world = World()
    world.initializer("database", open=refused_times(9, world.opens("database")), attempts=2)
    with pytest.raises(ConnectionRefusedError):
        await world.launcher.serve()
    assert len(world.log.of("not up yet, trying again")) == 1


async def test_a_start_that_takes_too_long_names_its_step_and_where_it_waits():
    world = World(startup=0.01)

    async def handshake() -> None:
        await asyncio.Event().wait()

    @asynccontextmanager
    async def open_() -> AsyncIterator[str]:
        await handshake()
        yield ""

    world.initializer("database", open=open_)
    with pytest.raises(StartTimeout) as caught:
        await world.launcher.serve()
    assert "handshake" in caught.value.stack
    assert render(diagnose(caught.value)) == (
        "The start did not finish within 0.01 s; it stood at: opening database.\n"
        f"  cause:  It was waiting here:\n{caught.value.stack}\n"
        "  action: Mend what it waits for, or allow more with STARTUP_TIMEOUT."
    )


async def test_a_start_that_takes_too_long_names_the_service_that_does_not_serve_and_no_other():
    world = World(startup=0.05)

    async def hang_here(control: Control) -> None:
        await asyncio.Event().wait()

    def red() -> None:
        raise ValueError

    world.service("slow", run=hang_here)
    world.service("tick")
    world.checks.append(HealthCheck(name="queue", check=red))
    with pytest.raises(StartTimeout) as caught:
        await world.launcher.serve()
    assert caught.value.step == "starting slow"
    assert "in hang_here" in caught.value.stack


async def test_a_start_that_was_refused_until_the_end_says_why():
    world = World(startup=0.05)
    world.initializer("queue", open=refused_times(10**9, world.opens("queue")))
    with pytest.raises(StartTimeout) as caught:
        await world.launcher.serve()
    assert render(diagnose(caught.value)) == (
        "The start did not finish within 0.05 s; it stood at: opening queue.\n"
        "  cause:  It was being tried again; the last attempt failed: ConnectionRefusedError: nobody listens\n"
        "  action: Mend what it waits for, or allow more with STARTUP_TIMEOUT."
    )


@dataclass(eq=False)
class QueueBusy(NotUpYet):
    """An error of this test."""

    attempt: int


@diagnose.register
def _(error: QueueBusy) -> Diagnosis:
    return Diagnosis(description=f"The queue is being moved, said it for the {error.attempt}th time.", action="Wait.")


def not_up_yet_times(count: int, then: Callable[[], AbstractAsyncContextManager[str]]) -> Callable[[], Any]:
    attempts = iter(range(1, count + 1))

    def open_() -> AbstractAsyncContextManager[str]:
        for attempt in attempts:
            raise QueueBusy(attempt)
        return then()

    return open_


async def test_an_initializer_that_says_it_is_not_up_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("eggycore.launcher.RETRY_BACKOFF_MAX", 0.0)
    world = World()
    world.initializer("queue", open=not_up_yet_times(7, world.opens("queue")))
    serving = await world.until_ready()
    world.launcher.request_stop("the test")
    await serving
    retries = world.log.of("not up yet, trying again")
    assert [fields["attempt"] for fields in retries] == [1, 2, 3, 4, 5, 6, 7]
    assert retries[-1]["reason"] == "The queue is being moved, said it for the 7th time."


async def test_a_start_that_was_not_up_yet_until_the_end_fails_with_what_was_said_last():
    world = World(startup=0.05)
    world.initializer("queue", open=not_up_yet_times(10**9, world.opens("queue")))
    with pytest.raises(QueueBusy) as caught:
        await world.launcher.serve()
    last = caught.value.attempt
    assert last == world.log.of("not up yet, trying again")[-1]["attempt"]
    assert explain(caught.value) == (
        f"The queue is being moved, said it for the {last}th time.\n"
        "  action: Wait.\n"
        f"  where:  It happened while opening initializer 'queue' of app shop, attempt {last}.\n"
        "  where:  It was tried again until STARTUP_TIMEOUT (0.05 s) had passed."
    )


async def test_a_service_that_is_not_critical_and_never_serves_does_not_hold_up_the_start():
    world = World()

    async def run(control: Control) -> None:
        raise ValueError("no")

    world.service("side", run=run, critical=False, restart=Restart(when="never"))
    serving = await world.until_ready()
    result = world.health.probe("ready")
    assert (result.status, result.http_status) == ("DEGRADED", 200)
    world.launcher.request_stop("the test")
    assert await serving == 0


async def test_a_start_that_waits_for_a_check_names_the_check():
    world = World(startup=0.05)

    def check() -> None:
        raise ValueError

    world.checks.append(HealthCheck(name="database", check=check))
    with pytest.raises(StartTimeout) as caught:
        await world.launcher.serve()
    assert render(diagnose(caught.value)) == (
        "The start did not finish within 0.05 s; it stood at: waiting for the first readiness.\n"
        "  cause:  These checks have not passed: database.\n"
        "  action: Mend what it waits for, or allow more with STARTUP_TIMEOUT."
    )


async def test_a_slow_step_is_named_with_its_stack():
    world = World(slow_after=0.0)
    go_on = asyncio.Event()

    async def crawl() -> None:
        await go_on.wait()

    @asynccontextmanager
    async def open_() -> AsyncIterator[str]:
        await crawl()
        yield ""

    original = world.log.warn

    def warn(message: str, /, **fields: object) -> None:
        original(message, **fields)
        go_on.set()

    world.log.warn = warn
    world.initializer("database", open=open_)
    serving = await world.until_ready()
    world.launcher.request_stop("the test")
    await serving
    slow = world.log.of("slow step")[0]
    assert slow["step"] == "opening database"
    assert "crawl" in str(slow["stack"])


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
