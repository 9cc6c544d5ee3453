"""What the report, subscribers, metrics and the log say of checks and reported states."""

from __future__ import annotations

import json
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from eggycore.errors import CheckFailed, Degraded
from eggycore.health import Health
from eggycore.metrics import Registry
from eggycore.testing import FakeClock
from eggycore.types import HealthCheck
from tests.health.watched import Dependency, asked, fast, ready, running


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
