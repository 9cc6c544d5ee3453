"""Health: what probes, the report, subscribers, metrics and the log say, and when."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from eggycore.errors import CheckFailed, Degraded
from eggycore.health import Health, ProbeResult
from eggycore.metrics import Registry
from eggycore.testing import FakeClock
from eggycore.types import CheckKind, HealthCheck


class Dependency:
    """Something a check asks: its answer can be set, and every answer given is counted."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.answer = answer
        self._answered = asyncio.Condition()
        self._count = 0

    async def check(self) -> None:
        async with self._answered:
            self._count += 1
            self._answered.notify_all()
        if self.answer is not None:
            raise self.answer

    async def answers(self, more: int) -> None:
        """Wait until it has answered so many times more, and the results are settled."""
        async with self._answered:
            enough = self._count + more
            await self._answered.wait_for(lambda: self._count >= enough)
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def running(health: Health) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(health.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


@asynccontextmanager
async def ready(health: Health) -> AsyncIterator[Health]:
    async with running(health):
        await health.first_pass()
        health.set_ready(True)
        yield health


def fast(name: str, check: Callable[[], object], **options: Any) -> HealthCheck:
    return HealthCheck(name=name, check=check, **{"interval": 0.001, "timeout": 30.0, **options})


def asked(result: ProbeResult) -> tuple[str, int, dict[str, Any]]:
    body: dict[str, Any] = json.loads(result.body)
    assert body.pop("status") == result.status
    return result.status, result.http_status, body


def test_before_ready_startup_and_readiness_are_red_and_name_the_step_while_liveness_is_green() -> None:
    health = Health()
    health.set_step("opening database")
    red = ("DOWN", 503, {"step": "opening database", "checks": {}})
    assert asked(health.probe("startup")) == red
    assert asked(health.probe("ready")) == red
    assert health.probe("live").http_status == 200


def test_when_ready_every_probe_is_green() -> None:
    health = Health()
    health.set_ready(True)
    kinds: tuple[CheckKind, ...] = ("ready", "live", "startup")
    assert [asked(health.probe(kind)) for kind in kinds] == [("UP", 200, {"checks": {}})] * 3


def test_draining_turns_readiness_red_for_good_and_nothing_else() -> None:
    health = Health()
    health.set_ready(True)
    health.begin_drain()
    health.set_ready(True)
    assert asked(health.probe("ready")) == ("DOWN", 503, {"step": "draining", "checks": {}})
    assert health.probe("live").http_status == 200
    assert health.probe("startup").http_status == 200


async def test_readiness_follows_a_critical_check() -> None:
    database = Dependency()
    async with ready(Health([fast("database", database.check)])) as health:
        assert asked(health.probe("ready")) == ("UP", 200, {"checks": {"database": "OK"}})
        database.answer = CheckFailed("gone")
        await database.answers(4)
        assert asked(health.probe("ready")) == ("DOWN", 503, {"checks": {"database": "FAILED"}})
        database.answer = None
        await database.answers(2)
        assert health.probe("ready").http_status == 200


async def test_a_refused_connection_turns_readiness_red_at_once() -> None:
    database = Dependency()
    async with ready(Health([fast("database", database.check, failure_threshold=1_000_000)])) as health:
        database.answer = ConnectionRefusedError()
        await database.answers(2)
        assert health.probe("ready").http_status == 503


async def test_a_check_is_run_before_its_turn_for_who_knows_that_its_outcome_has_changed() -> None:
    database = Dependency()
    async with ready(Health([fast("database", database.check, interval=3600)])) as health:
        database.answer = ConnectionRefusedError()
        health.look_again("database")
        health.look_again("nothing of this name")
        async with asyncio.timeout(10):
            await database.answers(1)
        assert health.probe("ready").http_status == 503


@pytest.mark.parametrize("answer", [CheckFailed("gone"), Degraded("slow")])
async def test_a_check_that_is_not_critical_only_degrades(answer: Exception) -> None:
    mail = Dependency(answer)
    async with ready(Health([fast("mail", mail.check, critical=False)])) as health:
        await mail.answers(4)
        status, http_status, _ = asked(health.probe("ready"))
        assert (status, http_status) == ("DEGRADED", 200)


async def test_a_degraded_critical_check_answers_200() -> None:
    database = Dependency(Degraded("one replica"))
    async with ready(Health([fast("database", database.check)])) as health:
        assert asked(health.probe("ready")) == ("DEGRADED", 200, {"checks": {"database": "DEGRADED"}})


async def test_liveness_never_looks_at_a_readiness_check() -> None:
    database, loop = Dependency(), Dependency()
    checks = [fast("database", database.check), fast("loop", loop.check, kinds=frozenset({"live"}))]
    async with ready(Health(checks)) as health:
        database.answer = CheckFailed("gone", certain=True)
        await database.answers(2)
        assert asked(health.probe("live")) == ("UP", 200, {"checks": {"loop": "OK"}})
        loop.answer = CheckFailed("stuck", certain=True)
        await loop.answers(2)
        assert asked(health.probe("live")) == ("DOWN", 503, {"checks": {"loop": "FAILED"}})
        health.begin_drain()
        assert health.probe("live").http_status == 200


def test_a_live_check_that_has_not_run_yet_is_no_reason_to_be_killed() -> None:
    health = Health([fast("loop", lambda: None, kinds=frozenset({"live"}))])
    assert health.probe("live").http_status == 200


@pytest.mark.parametrize(("critical", "expected"), [(True, ("UNKNOWN", 503)), (False, ("DEGRADED", 200))])
async def test_a_snapshot_older_than_three_intervals_is_unknown(critical: bool, expected: tuple[str, int]) -> None:
    clock, database = FakeClock(), Dependency()
    check = HealthCheck(name="database", check=database.check, interval=1000, critical=critical)
    health = Health([check], clock=clock)
    async with running(health):
        await database.answers(1)
        health.set_ready(True)
        clock.advance(3000)
        assert health.probe("ready").status == "UP"
        clock.advance(1)
        assert asked(health.probe("ready")) == (*expected, {"checks": {"database": "UNKNOWN"}})
        found = health.check_result("database")
        assert found is not None
        assert (found.status, found.http_status) == ("UNKNOWN", 503)


async def test_the_first_pass_waits_for_every_critical_readiness_and_startup_check() -> None:
    database, warm, mail, loop = Dependency(OSError()), Dependency(OSError()), Dependency(OSError()), Dependency()
    health = Health(
        [
            fast("database", database.check),
            fast("warm", warm.check, kinds=frozenset({"startup"})),
            fast("mail", mail.check, critical=False),
            fast("loop", loop.check, kinds=frozenset({"live"})),
        ]
    )
    async with running(health):
        passed = asyncio.create_task(health.first_pass())
        assert list(health.waiting_for) == ["database", "warm"]
        await database.answers(3)
        database.answer = None
        await database.answers(2)
        assert list(health.waiting_for) == ["warm"]
        assert not passed.done()
        warm.answer = None
        await passed


async def test_the_first_pass_is_over_at_once_without_checks() -> None:
    await Health().first_pass()


async def test_a_check_for_startup_only_is_not_asked_again_once_it_passed() -> None:
    clock, warm, database = FakeClock(), Dependency(), Dependency()
    checks = [fast("warm", warm.check, kinds=frozenset({"startup"})), fast("database", database.check)]
    async with ready(Health(checks, clock=clock)) as health:
        await database.answers(50)
        warm.answer = CheckFailed("cold", certain=True)
        await database.answers(50)
        clock.advance(1000)
        await database.answers(2)
        assert health.report_dict()["checks"] == {"warm": "OK", "database": "OK"}


async def test_a_check_added_while_running_is_run() -> None:
    health, database = Health(), Dependency()
    async with running(health):
        await asyncio.sleep(0)
        health.add(fast("database", database.check), "plugin db")
        await health.first_pass()
    assert health.report_dict()["checks"] == {"database": "OK"}


async def test_checks_run_concurrently_and_each_one_run_at_a_time() -> None:
    database, cache = asyncio.Event(), asyncio.Event()
    inside = 0

    async def check_database() -> None:
        database.set()
        await cache.wait()

    async def check_cache() -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        cache.set()
        await database.wait()
        inside -= 1

    async with ready(Health([fast("database", check_database), fast("cache", check_cache)])) as health:
        assert health.report_dict()["checks"] == {"database": "OK", "cache": "OK"}


async def test_stopping_cuts_off_what_runs() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def check() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with running(Health([fast("database", check)])):
        await begun.wait()
    assert cancelled.is_set()


async def test_a_thread_that_hangs_at_the_end_is_left_behind_and_named(
    remembered_log: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore.check_run.CLOSE_GRACE", 0.01)
    begun, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def check() -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait()

    health = Health()
    health.add(fast("disk", check), "plugin disk")
    async with running(health):
        await begun.wait()
    release.set()
    left = ("warn", "health check left behind: it does not end", {"check": "disk", "origin": "plugin disk"})
    assert left in remembered_log.lines


async def test_the_duration_of_a_check_that_hangs_is_counted_from_its_beginning() -> None:
    clock, begun, release = FakeClock(), asyncio.Event(), asyncio.Event()

    async def check() -> None:
        begun.set()
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    health = Health([fast("stubborn", check, timeout=0.001)], clock=clock)
    async with running(health):
        await begun.wait()
        clock.advance(60)
        while health.report_dict()["checks"] != {"stubborn": "FAILED"}:
            await asyncio.sleep(0)
        details: Any = health.report_dict(verbose=True)["details"]
        release.set()
    assert details["stubborn"]["seconds"] == 60
    assert details["stubborn"]["reason"] == "an earlier run has still not ended"


def test_two_checks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="there are two health checks named 'db'; give one of them another name"):
        Health([HealthCheck(name="db", check=lambda: None)] * 2)


@pytest.mark.parametrize("options", [{"interval": 0}, {"timeout": 0}, {"failure_threshold": 0}])
def test_a_check_whose_numbers_make_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="health check 'db' needs interval > 0, timeout > 0 and failure_threshold"):
        Health([HealthCheck(name="db", check=lambda: None, **options)])


def test_a_reported_state_counts_for_readiness_until_it_is_withdrawn() -> None:
    health = Health()
    health.set_ready(True)
    health.report("service tick", "DOWN", "it raised ValueError")
    assert asked(health.probe("ready")) == ("DOWN", 503, {"checks": {"service tick": "FAILED"}})
    assert health.probe("live").http_status == 200
    health.report("service tick", "DOWN", "it raised ValueError", critical=False)
    assert health.probe("ready").status == "DEGRADED"
    health.withdraw("service tick")
    health.withdraw("never there")
    assert asked(health.probe("ready")) == ("UP", 200, {"checks": {}})


async def test_one_check_can_be_asked_for_critical_or_not() -> None:
    mail = Dependency(CheckFailed("gone", certain=True))
    loop = fast("loop", lambda: None, kinds=frozenset({"live"}))
    async with ready(Health([fast("mail", mail.check, critical=False), loop])) as health:
        await mail.answers(2)
        found = health.check_result("mail")
        assert found is not None
        assert asked(found) == ("DOWN", 503, {"checks": {"mail": "FAILED"}})
        assert health.check_result("loop") is None
        assert health.check_result("nobody") is None


async def test_the_report_is_as_documented() -> None:
    database = Dependency()
    async with ready(Health([fast("database", database.check)])) as health:
        report = health.report_dict()
        moment = datetime.fromisoformat(str(report.pop("timestamp")))
        assert moment.utcoffset() is not None
        assert report == {"status": True, "checks": {"database": "OK"}}
        database.answer = CheckFailed("gone", certain=True)
        await database.answers(2)
        assert health.report_dict()["status"] is False


async def test_details_say_everything_but_no_secret() -> None:
    clock, database = FakeClock(50.0), Dependency()
    error = RuntimeError("postgres://app:hunter2@db/forms")
    health = Health(clock=clock)
    health.add(HealthCheck(name="database", check=database.check, interval=0.001, timeout=9), "plugin db (db 1.0)")
    health.report("plugin mail", "DOWN", "broken: smtp://app:hunter2@mail", critical=False)
    async with ready(health):
        database.answer = error
        await database.answers(4)
        report = health.report_dict(verbose=True)
    assert "hunter2" not in json.dumps(report)
    assert report["phase"] == "ready"
    details: Any = report["details"]
    assert details["database"].pop("failures") >= 3
    for name in details:
        assert datetime.fromisoformat(details[name].pop("since")).utcoffset() is not None
    assert details == {
        "plugin mail": {
            "status": "DOWN",
            "kinds": ["ready"],
            "critical": False,
            "origin": "",
            "reason": "broken: smtp://app:******@mail",
            "failures": 0,
            "seconds": None,
        },
        "database": {
            "status": "DOWN",
            "kinds": ["ready"],
            "critical": True,
            "origin": "plugin db (db 1.0)",
            "reason": "RuntimeError",
            "seconds": 0.0,
        },
    }


def test_details_name_the_step_of_a_start() -> None:
    health = Health()
    health.set_step("opening database")
    report = health.report_dict(verbose=True)
    assert (report["status"], report["phase"], report["step"]) == (False, "starting", "opening database")


def test_subscribers_are_told_the_state_and_every_change_once() -> None:
    health, told = Health(), list[bool]()
    unsubscribe = health.subscribe(told.append)
    health.set_ready(True)
    health.report("a", "DEGRADED")
    health.report("a", "DOWN")
    health.report("b", "DOWN")
    health.withdraw("a")
    health.withdraw("b")
    health.begin_drain()
    assert told == [False, True, False, True, False]
    unsubscribe()
    health.report("a", "UP")
    assert len(told) == 5


async def test_a_probe_is_rendered_upon_change_only() -> None:
    database = Dependency()
    async with ready(Health([fast("database", database.check)], clock=FakeClock())) as health:
        before = health.probe("ready")
        await database.answers(20)
        assert health.probe("ready") is before


async def test_states_are_exported_as_metrics_that_follow_staleness() -> None:
    clock, registry = FakeClock(), Registry()
    database, mail = Dependency(), Dependency(CheckFailed("gone", certain=True))
    checks = [
        HealthCheck(name="database", check=database.check, interval=1000),
        HealthCheck(name="mail", check=mail.check, interval=1000, critical=False),
    ]
    health = Health(checks, clock=clock, metrics=registry)

    def exported() -> dict[str, dict[tuple[str, ...], float]]:
        return {family.name: {s.labels: s.value for s in family.samples} for family in registry.collect()}

    assert exported()["health_check_duration_seconds"] == {}
    async with running(health):
        await database.answers(1)
        assert exported() == {
            "health_check_up": {("database",): 1.0, ("mail",): 0.0},
            "health_check_duration_seconds": {("database",): 0.0, ("mail",): 0.0},
        }
        clock.advance(3001)
        assert exported()["health_check_up"] == {("database",): 0.0, ("mail",): 0.0}


async def test_changes_are_logged_once_each(remembered_log: SimpleNamespace) -> None:
    database, error = Dependency(), ConnectionRefusedError("db:5432")
    health = Health()
    health.add(fast("database", database.check), "plugin db")
    async with ready(health):
        database.answer = error
        await database.answers(5)
        database.answer = Degraded("slow")
        await database.answers(5)
        database.answer = None
        await database.answers(5)
    why = {"critical": True, "origin": "plugin db"}
    assert remembered_log.lines == [
        ("debug", "health check passes", {"check": "database", "status": "UP", "was": "UNKNOWN"}),
        (
            "error",
            "health check fails",
            {"check": "database", "status": "DOWN", "was": "UP", "reason": "ConnectionRefusedError"}
            | why
            | {"exc": error},
        ),
        (
            "warn",
            "health check degraded",
            {"check": "database", "status": "DEGRADED", "was": "DOWN", "reason": "slow"} | why,
        ),
        ("info", "health check passes", {"check": "database", "status": "UP", "was": "DEGRADED"}),
    ]
