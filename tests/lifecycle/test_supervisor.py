"""One service under its restart policy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from eggycore.diagnostics import diagnose, render
from eggycore.plan import Planned
from eggycore.supervisor import RestartLadder, ServiceDied, ServiceOverran, Supervised
from eggycore.testing import FakeClock
from eggycore.types import Control, Origin, Restart, Service

AT_ONCE = Restart(backoff=0, backoff_max=0, limit=3)


class Recorder:
    """Takes down what supervision is told."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.deaths: list[ServiceDied] = []

    def service_started(self, planned: Planned[Service], seconds: float) -> None:
        self.events.append("started")

    def service_crashed(self, planned: Planned[Service], error: BaseException | None, delay: float | None) -> None:
        self.events.append(("crashed", type(error).__name__, delay))

    def service_failed_to_start(self, planned: Planned[Service], error: BaseException) -> None:
        self.events.append(("failed to start", type(error).__name__))

    def service_died(self, planned: Planned[Service], error: ServiceDied) -> None:
        self.events.append("died")
        self.deaths.append(error)


def supervise(
    run: Callable[[Control], Awaitable[None]],
    *,
    restart: Restart = AT_ONCE,
    stop_timeout: float | None = None,
    critical: bool = True,
    clock: Callable[[], float] | None = None,
) -> tuple[Supervised, Recorder]:
    recorder = Recorder()
    service = Service(name="tick", run=run, restart=restart, stop_timeout=stop_timeout, critical=critical)
    supervised = Supervised(
        Planned(service, Origin("shop", kind="app")),
        draining=asyncio.Event(),
        supervision=recorder,
        clock=clock or FakeClock(),
        rng=random.Random(1),
    )
    return supervised, recorder


async def test_a_service_that_stops_when_told_is_no_crash():
    async def run(control: Control) -> None:
        control.started()
        control.started()
        await control.stopping.wait()

    supervised, recorder = supervise(run)
    await supervised.settled()
    await supervised.stop(timeout=5)
    assert recorder.events == ["started"]


async def test_a_service_that_dies_is_restarted_until_its_limit():
    async def run(control: Control) -> None:
        control.started()
        raise ValueError("no")

    supervised, recorder = supervise(run)
    await supervised.task
    crash = ("crashed", "ValueError", 0.0)
    assert recorder.events == [
        *("started", crash) * 3,
        "started",
        ("crashed", "ValueError", None),
        "died",
    ]
    assert isinstance(recorder.deaths[0].__cause__, ValueError)


async def test_returning_too_early_is_a_crash():
    async def run(control: Control) -> None:
        control.started()

    supervised, recorder = supervise(run, restart=Restart(when="never"))
    await supervised.task
    assert recorder.events == ["started", ("crashed", "NoneType", None), "died"]
    assert render(diagnose(recorder.deaths[0])) == (
        "Service 'tick' of app shop died: it returned before it was told to stop.\n"
        "  cause:  A critical service that stays dead ends the process; its policy is never to restart it.\n"
        "  action: Read the error line with its stack above, mend the cause, or declare it critical=False."
    )


async def test_the_message_of_a_service_that_used_up_its_restarts():
    async def run(control: Control) -> None:
        control.started()
        raise ValueError("secret in here")

    supervised, recorder = supervise(run)
    await supervised.task
    assert render(diagnose(recorder.deaths[0])) == (
        "Service 'tick' of app shop died: it raised ValueError.\n"
        "  cause:  A critical service that stays dead ends the process; it was restarted 3 times within 600 s, and 3"
        " are allowed.\n"
        "  action: Read the error line with its stack above, mend the cause, or declare it critical=False."
    )


async def test_sys_exit_inside_a_service_is_a_crash_and_does_not_end_the_loop():
    async def run(control: Control) -> None:
        control.started()
        raise SystemExit(3)

    supervised, recorder = supervise(run, restart=Restart(when="never"))
    await supervised.task
    assert recorder.events == ["started", ("crashed", "SystemExit", None), "died"]


async def test_what_a_service_awaits_being_cancelled_is_a_crash_of_the_service():
    async def run(control: Control) -> None:
        control.started()
        inner = asyncio.create_task(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner

    supervised, recorder = supervise(run, restart=Restart(when="never"))
    await supervised.task
    assert recorder.events == ["started", ("crashed", "CancelledError", None), "died"]


async def test_sys_exit_while_stopping_is_a_failure_and_does_not_end_the_loop():
    async def run(control: Control) -> None:
        control.started()
        await control.stopping.wait()
        raise SystemExit(3)

    supervised, _ = supervise(run)
    await supervised.settled()
    with pytest.raises(RuntimeError, match="it raised SystemExit"):
        await supervised.stop(timeout=5)


async def test_one_that_is_not_critical_is_settled_once_it_will_never_serve():
    async def run(control: Control) -> None:
        raise ValueError("no")

    supervised, recorder = supervise(run, restart=Restart(when="never"), critical=False)
    await supervised.settled()
    assert recorder.events == [("crashed", "ValueError", None), "died"]


@pytest.mark.parametrize(
    ("error", "critical", "expected"),
    [
        (ValueError("wrong"), True, [("failed to start", "ValueError")]),
        (ValueError("wrong"), False, [("crashed", "ValueError", None), "died"]),
        (ConnectionRefusedError(), True, [("crashed", "ConnectionRefusedError", None), "died"]),
    ],
)
async def test_only_a_server_that_is_not_up_yet_is_worth_another_start(
    error: Exception, critical: bool, expected: list[object]
):
    async def run(control: Control) -> None:
        raise error

    supervised, recorder = supervise(run, restart=Restart(when="never"), critical=critical)
    await supervised.task
    assert recorder.events == expected


async def test_a_stop_ends_the_wait_for_a_restart_at_once():
    crashed = asyncio.Event()

    async def run(control: Control) -> None:
        control.started()
        crashed.set()
        raise ValueError

    supervised, recorder = supervise(run, restart=Restart(backoff=1e6, backoff_max=1e6))
    await crashed.wait()
    await supervised.stop(timeout=5)
    assert supervised.task.done()
    assert recorder.events[0] == "started"
    assert len(recorder.events) == 2


async def test_a_service_that_does_not_serve_yet_is_cancelled_at_once():
    begun, cleaned_up = asyncio.Event(), asyncio.Event()

    async def run(control: Control) -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            cleaned_up.set()

    supervised, recorder = supervise(run)
    await begun.wait()
    await supervised.stop(timeout=5)
    assert cleaned_up.is_set()
    assert recorder.events == []


async def test_what_a_service_raises_while_it_stops_is_raised_by_stop():
    async def run(control: Control) -> None:
        control.started()
        await control.stopping.wait()
        raise OSError("flush failed")

    supervised, _ = supervise(run)
    await supervised.settled()
    with pytest.raises(OSError, match="flush failed"):
        await supervised.stop(timeout=5)


async def test_a_service_that_overruns_is_cancelled_and_named_with_its_innermost_frame():
    async def stuck_here(control: Control) -> None:
        control.started()
        await asyncio.Event().wait()

    async def run(control: Control) -> None:
        await stuck_here(control)

    supervised, _ = supervise(run, stop_timeout=0.0)
    await supervised.settled()
    with pytest.raises(ServiceOverran) as caught:
        await supervised.stop(timeout=5)
    assert supervised.task.cancelled()
    assert "stuck_here" in caught.value.stack
    assert render(diagnose(caught.value)) == (
        "Service 'tick' of app shop did not stop within 0.0 s.\n"
        f"  cause:  It was waiting here:\n{caught.value.stack}\n"
        "  action: Return soon after control.stopping is set, or allow more with stop_timeout and SHUTDOWN_TIMEOUT."
    )


async def test_a_service_that_ignores_its_cancellation_does_not_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("eggycore.supervisor.CANCEL_GRACE", 0.0)
    release = asyncio.Event()

    async def run(control: Control) -> None:
        control.started()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    supervised, _ = supervise(run, stop_timeout=0.0)
    await supervised.settled()
    with pytest.raises(ServiceOverran):
        await supervised.stop(timeout=5)
    assert not supervised.task.done()
    release.set()
    await supervised.task


@given(st.floats(0, 100), st.floats(0, 1000), st.integers(0, 20), st.integers())
def test_delays_grow_within_full_jitter_up_to_the_bound(backoff: float, more: float, limit: int, seed: int):
    policy = Restart(backoff=backoff, backoff_max=backoff + more, limit=limit)
    ladder = RestartLadder(policy, clock=FakeClock(), rng=random.Random(seed))
    for attempt in range(limit):
        delay = ladder.next_delay()
        assert delay is not None
        assert 0 <= delay <= min(policy.backoff_max, backoff * 2**attempt)
    assert ladder.next_delay() is None


class SlidingWindow(RuleBasedStateMachine):
    """Against a model that keeps every restart: never more than `limit` inside any window."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.policy = Restart(limit=3, window=10.0)
        self.ladder = RestartLadder(self.policy, clock=self.clock, rng=random.Random(0))
        self.restarts: list[float] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 9.75, 10.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def it_crashes(self) -> None:
        recent = [moment for moment in self.restarts if moment > self.clock() - self.policy.window]
        delay = self.ladder.next_delay()
        assert (delay is None) == (len(recent) >= self.policy.limit)
        if delay is not None:
            self.restarts.append(self.clock())

    @invariant()
    def no_window_holds_too_many(self) -> None:
        for moment in self.restarts:
            inside = [other for other in self.restarts if moment <= other < moment + self.policy.window]
            assert len(inside) <= self.policy.limit


TestSlidingWindow = SlidingWindow.TestCase


def test_a_policy_with_nonsense_is_refused():
    with pytest.raises(ValueError, match="Restart takes 0 <= backoff <= backoff_max, limit >= 0 and window > 0"):
        Restart(backoff=2, backoff_max=1)
