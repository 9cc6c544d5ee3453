"""What the probes answer, and when: phases, thresholds, staleness, the first pass, runs that hang."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from eggycore.errors import CheckFailed, Degraded
from eggycore.health import Health
from eggycore.testing import FakeClock
from eggycore.types import CheckKind, HealthCheck
from tests.health.watched import Dependency, asked, fast, ready, running


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
