"""Services that are leader_only: in terms, between terms, and when the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.errors import NotLeader
from eggycore.plan import PlanError, Planned, make_plan
from eggycore.supervisor import ServiceDied
from eggycore.types import Control, Initializer, Leadership, Restart, Service
from tests.lifecycle.launched import APP, World


class ShortTerm:
    """A term that the test ends."""

    def __init__(self, token: int) -> None:
        self.token = token
        self.over = asyncio.Event()
        self.left = 60.0

    def seconds_left(self) -> float:
        return self.left


class Chair(Leadership):
    """Leadership that the test gives and takes."""

    def __init__(self) -> None:
        self.term: ShortTerm | None = None
        self.inside = 0
        self._changed = asyncio.Condition()

    async def elect(self, token: int) -> ShortTerm:
        async with self._changed:
            self.term = ShortTerm(token)
            self._changed.notify_all()
        return self.term

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[ShortTerm]:
        async with self._changed:
            await self._changed.wait_for(lambda: self.term is not None and not self.term.over.is_set())
        assert self.term is not None
        self.inside += 1
        try:
            yield self.term
        finally:
            self.inside -= 1


class Country(World):
    """A world in which leadership is given by the test."""

    def __init__(self, **budgets: float) -> None:
        super().__init__(**budgets)
        self.chair = Chair()

        @asynccontextmanager
        async def open_chair() -> AsyncIterator[Leadership]:
            yield self.chair

        self.initializer("leadership", open=open_chair, provides=Leadership)

    async def stop(self, serving: asyncio.Task[int]) -> int:
        self.launcher.request_stop("the test is over")
        return await serving


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_standby_is_ready_and_its_service_has_not_run():
    country = Country()
    country.service("bill", leader_only=True)
    serving = await country.until_ready()
    assert country.events == []
    assert await country.stop(serving) == 0
    assert country.events == []


async def test_a_service_runs_in_each_term_and_between_them_not():
    country = Country()
    country.service("bill", leader_only=True)
    serving = await country.until_ready()
    for token in (7, 9):
        term = await country.chair.elect(token)
        await until(lambda: country.events[-1:] == ["start bill"])
        term.over.set()
        await until(lambda: country.events[-1:] == ["stop bill"])
        await until(lambda: country.chair.inside == 0)
    assert await country.stop(serving) == 0
    assert country.events == ["start bill", "stop bill"] * 2
    assert country.log.of("a leader-only service starts") == [
        {"component": "bill", "term": 7},
        {"component": "bill", "term": 9},
    ]
    assert country.log.of("a leader-only service has stopped") == [
        {"component": "bill", "term": 7, "reason": "the term is over"},
        {"component": "bill", "term": 9, "reason": "the term is over"},
    ]


async def test_what_does_not_finish_within_its_term_is_cut_and_named_with_its_stack():
    country = Country()
    outcome: list[str] = []

    async def never_done() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            outcome.append("cut")
            raise

    async def run(control: Control) -> None:
        await never_done()

    country.service("bill", run=run, leader_only=True)
    serving = await country.until_ready()
    term = await country.chair.elect(7)
    await until(lambda: country.chair.inside)
    term.over.set()
    term.left = 0.0
    await until(lambda: country.chair.inside == 0)
    assert outcome == ["cut"]
    [cut] = country.log.of("a leader-only service is cut: its term has ended")
    assert cut["term"] == 7
    assert "in never_done" in str(cut["stack"])
    await country.chair.elect(8)
    await until(lambda: country.chair.inside)  # it was no crash: in the next term it runs again
    term = country.chair.term
    assert term is not None
    term.left = 0.0
    assert await country.stop(serving) == 0


async def test_a_service_that_finishes_what_it_has_begun_is_not_cut_before_the_end_of_the_term():
    country = Country()
    may_finish = asyncio.Event()

    async def run(control: Control) -> None:
        await control.stopping.wait()
        country.events.append("finishing")
        await may_finish.wait()
        country.events.append("finished")

    country.service("bill", run=run, leader_only=True)
    serving = await country.until_ready()
    term = await country.chair.elect(7)
    await until(lambda: country.chair.inside)
    term.over.set()
    await until(lambda: country.events == ["finishing"])
    may_finish.set()
    await until(lambda: country.events == ["finishing", "finished"])
    assert await country.stop(serving) == 0


async def test_a_crash_in_a_term_falls_under_the_restart_policy_and_leads_on():
    country = Country()
    runs: list[int] = []

    async def run(control: Control) -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("no")
        await control.stopping.wait()

    country.service("bill", run=run, leader_only=True, restart=Restart(backoff=0, backoff_max=0))
    serving = await country.until_ready()
    await country.chair.elect(7)
    await until(lambda: len(runs) == 2)
    [crash] = country.log.of("service crashed")
    assert crash["reason"] == "it raised ValueError"
    assert await country.stop(serving) == 0


async def test_returning_while_the_term_lasts_is_a_crash():
    country = Country()

    async def run(control: Control) -> None:
        pass

    country.service("bill", run=run, leader_only=True, restart=Restart(when="never"))
    serving = await country.until_ready()
    await country.chair.elect(7)
    with pytest.raises(ServiceDied) as died:
        await serving
    assert died.value.reason == "it returned before it was told to stop"


async def test_its_own_timeout_error_is_a_crash_and_not_the_end_of_the_term():
    country = Country()

    async def run(control: Control) -> None:
        raise TimeoutError

    country.service("bill", run=run, leader_only=True, restart=Restart(when="never"))
    serving = await country.until_ready()
    await country.chair.elect(7)
    with pytest.raises(ServiceDied, match="it raised TimeoutError"):
        await serving


async def test_a_drain_stops_it_at_once_and_does_not_wait_for_the_drain_delay():
    country = Country(drain_delay=1.0)
    country.service("bill", leader_only=True)
    serving = await country.until_ready()
    await country.chair.elect(7)
    await until(lambda: country.events == ["start bill"])
    country.launcher.request_stop("SIGTERM")
    await until(lambda: country.events == ["start bill", "stop bill"])
    await until(lambda: country.chair.inside == 0)
    assert not serving.done(), "the drain delay is over"
    assert country.log.of("a leader-only service has stopped")[0]["reason"] == "the process stops"
    assert await serving == 0
    assert country.log.of("service crashed") == []


async def test_a_service_that_overruns_the_stop_is_named_with_its_own_stack():
    country = Country(shutdown=0.1)

    async def never_done() -> None:
        await asyncio.Event().wait()

    async def run(control: Control) -> None:
        await never_done()

    country.service("bill", run=run, leader_only=True)
    serving = await country.until_ready()
    await country.chair.elect(7)
    await until(lambda: country.chair.inside)
    assert await country.stop(serving) == 1
    [failed] = country.log.of("failed to stop")
    assert "in never_done" in str(failed["reason"])


def report(*services: Service, **options: Any) -> str:
    with pytest.raises(PlanError) as refused:
        make_plan([], [Planned(one, APP) for one in services], **options)
    return render(diagnose(refused.value))


async def idle(control: Control) -> None:
    await control.stopping.wait()


def test_leader_only_without_an_elector():
    assert report(Service(name="bill", run=idle, leader_only=True)) == (
        "The plan has 1 problem; nothing was opened.\n"
        "\n"
        "1. Service 'bill' of app shop is leader_only, and nothing provides leadership.\n"
        "     cause:  No selected plugin elects a leader among the replicas.\n"
        "     action: Select a plugin that does (`eggycore plugins` lists what is installed), or drop leader_only=True."
    )


def test_requiring_leadership_without_an_elector():
    assert report(Service(name="bill", run=idle, requires=(Leadership,))) == (
        "The plan has 1 problem; nothing was opened.\n"
        "\n"
        "1. Service 'bill' of app shop requires Leadership, and nothing provides leadership.\n"
        "     cause:  No selected plugin elects a leader among the replicas.\n"
        "     action: Select a plugin that does (`eggycore plugins` lists what is installed), or take Leadership out of"
        " its requires."
    )


def test_a_leader_only_probe_would_start_before_there_is_leadership():
    @asynccontextmanager
    async def opened() -> AsyncIterator[Leadership]:
        yield Leadership()

    elector = Planned(Initializer(name="leadership", open=opened, provides=Leadership), APP)
    probe = Planned(Service(name="bill", run=idle, leader_only=True, stage="probe"), APP)
    with pytest.raises(PlanError) as refused:
        make_plan([elector], [probe])
    assert "Service 'bill' of app shop requires initializer 'leadership' of app shop, which starts later." in render(
        diagnose(refused.value)
    )


def test_the_plan_knows_who_is_wanted():
    @asynccontextmanager
    async def opened() -> AsyncIterator[Leadership]:
        yield Leadership()

    elector = Planned(Initializer(name="leadership", open=opened, provides=Leadership), APP)
    assert Leadership not in make_plan([elector]).wanted
    plan = make_plan([elector], [Planned(Service(name="bill", run=idle, leader_only=True), APP)])
    assert Leadership in plan.wanted
    assert plan.to_dict()["services"][0]["requires"] == ["Leadership"]


def test_the_message_of_what_only_the_leader_may_do():
    assert render(diagnose(NotLeader())) == (
        "This replica does not lead.\n"
        "  cause:  What only the leader may do was asked of a replica that is not the leader now.\n"
        "  action: Do it in a service with leader_only=True or inside `async with leadership.lead()`."
    )
