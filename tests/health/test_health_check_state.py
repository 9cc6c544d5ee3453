"""The threshold machine of a health check, against a model, under a clock that stands still."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eggycore.check_state import STALE_INTERVALS, CheckState, Status
from eggycore.testing import FakeClock
from eggycore.types import HealthCheck


class ThresholdMachine(RuleBasedStateMachine):
    """Every order of results and pauses leads to the status that the written rules give."""

    @initialize(
        threshold=st.integers(1, 4), interval=st.sampled_from((0.5, 5.0)), timeout=st.sampled_from((0.25, 2.0, 60.0))
    )
    def begin(self, threshold: int, interval: float, timeout: float) -> None:
        self.check = HealthCheck(
            name="database",
            check=lambda: None,
            failure_threshold=threshold,
            interval=interval,
            timeout=timeout,
        )
        self.clock = FakeClock(1000.0)
        self.state = CheckState(self.check)
        self.verdict: Status = "UNKNOWN"
        self.failures = 0
        self.good_until = math.inf
        self.running = False

    def expected(self) -> Status:
        return "UNKNOWN" if self.clock() > self.good_until else self.verdict

    @rule(seconds=st.sampled_from((0.0, 0.1, 0.5, 1.5, 5.0, 15.0, 61.0)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: not self.running)
    @rule()
    def start(self) -> None:
        if self.clock() <= self.good_until:
            self.good_until = max(self.good_until, self.clock() + self.check.timeout)
        self.running = True
        self.state.started(self.clock())

    def end(self, status: Status) -> None:
        self.running = False
        self.verdict = status
        self.good_until = self.clock() + 3 * self.check.interval

    @precondition(lambda self: self.running)
    @rule()
    def it_passes(self) -> None:
        self.failures = 0
        self.end("UP")
        self.state.passed(self.clock(), 0.1)

    @precondition(lambda self: self.running)
    @rule()
    def it_is_degraded(self) -> None:
        self.failures = 0
        self.end("DEGRADED")
        self.state.degraded("slow", self.clock(), 0.1)

    @precondition(lambda self: self.running)
    @rule(certain=st.booleans())
    def it_fails(self, certain: bool) -> None:
        self.failures += 1
        held = self.expected()
        red = certain or held == "DOWN" or self.failures >= self.check.failure_threshold
        self.end("DOWN" if red else held)
        self.state.failed("no", self.clock(), 0.1, certain=certain)

    @invariant()
    def the_status_is_the_expected_one(self) -> None:
        if hasattr(self, "state"):
            assert self.state.status(self.clock()) == self.expected()
            assert self.state.failures == self.failures

    @invariant()
    def good_news_never_comes_from_failures(self) -> None:
        if hasattr(self, "state") and not self.state.has_passed:
            assert self.state.status(self.clock()) in ("UNKNOWN", "DOWN")


TestThresholdMachine = ThresholdMachine.TestCase


@pytest.fixture
def state() -> CheckState:
    return CheckState(HealthCheck(name="database", check=lambda: None))


def test_the_third_failure_in_a_row_turns_red_and_one_success_turns_green(state: CheckState) -> None:
    state.passed(0, 0.1)
    seen = []
    for now in (5, 10, 15):
        state.failed("no", now, 0.1, certain=False)
        seen.append(state.status(now))
    assert seen == ["UP", "UP", "DOWN"]
    state.passed(20, 0.1)
    assert (state.status(20), state.reason, state.failures) == ("UP", "", 0)


def test_a_certain_failure_turns_red_at_once(state: CheckState) -> None:
    state.passed(0, 0.1)
    state.failed("refused", 5, 0.1, certain=True)
    assert (state.status(5), state.since) == ("DOWN", 5)


def test_a_result_is_unknown_once_it_is_older_than_three_intervals(state: CheckState) -> None:
    state.passed(100, 0.1)
    age = STALE_INTERVALS * 5.0
    assert (state.status(100 + age), state.status(100 + age + 0.001)) == ("UP", "UNKNOWN")


def test_a_slow_run_does_not_make_the_last_result_stale_but_one_that_begins_late_does_not_mend_it() -> None:
    state = CheckState(HealthCheck(name="database", check=lambda: None, interval=0.1, timeout=2))
    state.passed(100, 0.1)
    state.started(100.1)
    assert state.status(102) == "UP"
    state.started(110)
    assert state.status(110) == "UNKNOWN"


def test_before_the_threshold_a_check_that_never_passed_is_unknown_not_red(state: CheckState) -> None:
    state.failed("no", 0, 0.1, certain=False)
    assert (state.status(0), state.has_verdict, state.has_passed) == ("UNKNOWN", False, False)
