from __future__ import annotations

import itertools

from eggycore.log.patience import PATIENCE, Patience


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_short_waits_are_always_allowed() -> None:
    patience = Patience(Clock())
    for _ in range(10_000):
        assert patience.may_wait()
        patience.waited(0.0005, in_vain=False)


def test_a_target_that_is_a_little_slow_is_waited_for_a_quarter_of_the_time() -> None:
    clock = Clock()
    patience = Patience(clock)
    waited = 0.0
    while clock.now < 60.0:
        if patience.may_wait():
            clock.now += 0.04
            waited += 0.04
            patience.waited(0.04, in_vain=False)
        clock.now += 0.001
    assert 14.0 < waited < 16.0


def test_waits_in_vain_become_rare_and_a_success_forgives_them() -> None:
    clock = Clock()
    patience = Patience(clock)
    moments = []
    while len(moments) < 9:
        clock.now += 0.125
        if patience.may_wait():
            moments.append(clock.now)
            patience.waited(PATIENCE, in_vain=True)
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    clock.now += 60.0
    assert patience.may_wait()
    patience.waited(0.01, in_vain=False)
    patience.waited(PATIENCE, in_vain=True)
    clock.now += 1.0
    assert patience.may_wait()
