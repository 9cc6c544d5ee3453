"""The circuit breaker against a plain model of what it promises, and its corners one by one."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eggycore.testing import FakeClock
from eggycore_cache.breaker import Breaker


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    return Breaker(threshold=3, cooldown=1.0, max_cooldown=8.0, clock=clock, random=lambda: 0.0)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed("it is down")


def test_it_opens_after_failures_in_a_row_only(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.state == "closed"
    assert breaker.allow()
    fail(breaker, 1)
    assert breaker.state == "open"
    assert not breaker.allow()
    assert (breaker.errors, breaker.reason) == (5, "it is down")


def test_one_probe_is_let_through_once_it_has_cooled_down(breaker: Breaker, clock: FakeClock) -> None:
    fail(breaker, 3)
    clock.advance(0.999)
    assert not breaker.ready
    assert not breaker.allow()
    clock.advance(0.001)
    assert breaker.ready
    assert [breaker.allow() for _ in range(5)] == [True, False, False, False, False]
    assert breaker.state == "half-open"


def test_a_probe_that_succeeds_closes_it_and_forgets(breaker: Breaker, clock: FakeClock) -> None:
    fail(breaker, 3)
    clock.advance(1)
    assert breaker.allow()
    breaker.succeeded()
    assert (breaker.state, breaker.reason, breaker.errors) == ("closed", "", 3)
    fail(breaker, 3)
    clock.advance(1)
    assert breaker.ready, "the cooldown is the first one again"


def test_every_probe_that_fails_doubles_the_cooldown_up_to_its_end(breaker: Breaker, clock: FakeClock) -> None:
    fail(breaker, 3)
    waited = []
    for _ in range(6):
        seconds = 0
        while not breaker.allow():
            clock.advance(1)
            seconds += 1
        waited.append(seconds)
        breaker.failed("still down")
    assert waited == [1, 2, 4, 8, 8, 8]


def test_up_to_half_of_the_cooldown_is_left_out_at_random(clock: FakeClock) -> None:
    breaker = Breaker(threshold=1, cooldown=1.0, clock=clock, random=lambda: 0.5)
    breaker.failed("it is down")
    clock.advance(0.74)
    assert not breaker.ready
    clock.advance(0.01)
    assert breaker.ready


def test_reports_of_earlier_requests_neither_close_it_nor_make_it_wait_longer(
    breaker: Breaker, clock: FakeClock
) -> None:
    fail(breaker, 3)
    breaker.succeeded()
    assert breaker.state == "open"
    fail(breaker, 50)
    clock.advance(1)
    assert breaker.ready


def test_a_probe_given_up_leaves_its_turn_to_the_next(breaker: Breaker, clock: FakeClock) -> None:
    fail(breaker, 3)
    clock.advance(1)
    assert breaker.allow()
    breaker.released()
    assert breaker.allow()
    assert not breaker.allow()


class BreakerAgainstModel(RuleBasedStateMachine):
    """The model: failures in a row, the moment from which it may be probed, and whether a probe is out."""

    THRESHOLD, COOLDOWN, MAX_COOLDOWN = 2, 1.0, 4.0

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.luck = 0.0
        self.breaker = Breaker(
            threshold=self.THRESHOLD,
            cooldown=self.COOLDOWN,
            max_cooldown=self.MAX_COOLDOWN,
            clock=self.clock,
            random=lambda: self.luck,
        )
        self.in_a_row = 0
        self.cooldown = self.COOLDOWN
        self.open_until: float | None = None
        self.probing = False
        self.errors = 0

    @rule(seconds=st.integers(0, 24).map(lambda quarters: quarters / 4), luck=st.sampled_from([0.0, 0.5]))
    def time_passes(self, seconds: float, luck: float) -> None:
        self.clock.advance(seconds)
        self.luck = luck

    @rule()
    def ask(self) -> None:
        expected = self.open_until is None or (self.clock() >= self.open_until and not self.probing)
        assert self.breaker.ready == expected
        assert self.breaker.allow() == expected
        self.probing = self.open_until is not None and (self.probing or expected)

    @rule()
    def succeed(self) -> None:
        self.breaker.succeeded()
        if self.probing or self.open_until is None:
            self.in_a_row, self.cooldown, self.open_until, self.probing = 0, self.COOLDOWN, None, False

    @rule()
    def fail(self) -> None:
        self.breaker.failed("down")
        self.errors += 1
        if self.open_until is not None and not self.probing:
            return
        self.in_a_row += 1
        if self.probing:
            self.cooldown = min(self.cooldown * 2, self.MAX_COOLDOWN)
        if self.probing or self.in_a_row >= self.THRESHOLD:
            self.probing = False
            self.open_until = self.clock() + self.cooldown * (1 - self.luck / 2)

    @precondition(lambda self: self.probing)
    @rule()
    def give_up(self) -> None:
        self.breaker.released()
        self.probing = False

    @invariant()
    def says_what_it_does(self) -> None:
        state = "closed" if self.open_until is None else "half-open" if self.probing else "open"
        assert self.breaker.state == state
        assert self.breaker.errors == self.errors
        assert bool(self.breaker.reason) == bool(self.in_a_row)


TestBreakerAgainstModel = BreakerAgainstModel.TestCase
