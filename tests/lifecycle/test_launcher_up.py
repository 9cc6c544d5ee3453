"""The way up: order, readiness, failures and retries, starts that take too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from eggycore.budgets import Budgets, StartTimeout
from eggycore.diagnostics import diagnose, explain, render
from eggycore.types import Control, HealthCheck, Restart
from tests.lifecycle.launched import QueueBusy, World, not_up_yet_times, ready_or_over, refused_times


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
