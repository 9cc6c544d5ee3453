"""Runs one service under its restart policy, and stops it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from eggycore.containment import contained, must_pass
from eggycore.diagnostics import Diagnosis, capitalized, diagnose
from eggycore.errors import EggycoreError
from eggycore.opening import is_not_up_yet
from eggycore.plan import Planned
from eggycore.stacks import task_stack
from eggycore.types import Restart, Service

__all__ = ["RestartLadder", "ServiceDied", "ServiceOverran", "Supervised", "Supervision"]

CANCEL_GRACE = 1.0
"""Seconds that a cancelled service gets to clean up before it is abandoned."""


@dataclass(eq=False)
class ServiceDied(EggycoreError):
    """A critical service ended before it was told to, and its restarts are used up."""

    component: str
    reason: str
    restarts: int
    policy: Restart


@diagnose.register
def _(error: ServiceDied) -> Diagnosis:
    policy = error.policy
    allowed = (
        "its policy is never to restart it"
        if policy.when == "never"
        else f"it was restarted {error.restarts} times within {policy.window:g} s, and {policy.limit} are allowed"
    )
    return Diagnosis(
        description=f"{capitalized(error.component)} died: {error.reason}.",
        cause=f"A critical service that stays dead ends the process; {allowed}.",
        action="Read the error line with its stack above, mend the cause, or declare it critical=False.",
    )


@dataclass(eq=False)
class ServiceOverran(EggycoreError):
    """A service did not finish in time when it was stopped; it was cancelled."""

    component: str
    seconds: float
    stack: str


@diagnose.register
def _(error: ServiceOverran) -> Diagnosis:
    return Diagnosis(
        description=f"{capitalized(error.component)} did not stop within {error.seconds:.1f} s.",
        cause=f"It was waiting here:\n{error.stack}",
        action="Return soon after control.stopping is set, or allow more with stop_timeout and SHUTDOWN_TIMEOUT.",
    )


class RestartLadder:
    """Decides whether and when to restart: exponential backoff with full jitter, and a limit in a sliding window."""

    def __init__(self, policy: Restart, *, clock: Callable[[], float], rng: random.Random) -> None:
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._restarts: deque[float] = deque()

    @property
    def used(self) -> int:
        """Restarts inside the current window."""
        oldest = self._clock() - self._policy.window
        while self._restarts and self._restarts[0] <= oldest:
            self._restarts.popleft()
        return len(self._restarts)

    def next_delay(self) -> float | None:
        """Seconds to wait before the next restart, or None when there is none."""
        used = self.used
        if self._policy.when == "never" or used >= self._policy.limit:
            return None
        self._restarts.append(self._clock())
        return self._rng.uniform(0, min(self._policy.backoff_max, self._policy.backoff * 2.0**used))


class Supervision(Protocol):
    """Who is told what happens to a service."""

    def service_started(self, planned: Planned[Service], seconds: float) -> None:
        """It serves now; called again after each restart."""

    def service_crashed(self, planned: Planned[Service], error: BaseException | None, delay: float | None) -> None:
        """It ended too early, by an exception or (None) by returning; restarted after `delay` seconds, or never."""

    def service_failed_to_start(self, planned: Planned[Service], error: BaseException) -> None:
        """A critical one failed before it ever served, and not because a server is not up yet: trying again is vain."""

    def service_died(self, planned: Planned[Service], error: ServiceDied) -> None:
        """It will not be restarted any more."""


class _Control:
    """What `Service.run` is handed."""

    def __init__(self, name: str, draining: asyncio.Event) -> None:
        self.name = name
        self.draining = draining
        self.stopping = asyncio.Event()
        self.serving = asyncio.Event()
        self.ever_served = False
        self.on_started: Callable[[], None] = lambda: None

    def started(self) -> None:
        if not self.serving.is_set():
            self.serving.set()
            self.ever_served = True
            self.on_started()


class Supervised:
    """One service from its first start to its end. Owns the task in which it runs."""

    def __init__(
        self,
        planned: Planned[Service],
        *,
        draining: asyncio.Event,
        supervision: Supervision,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.planned = planned
        self._supervision = supervision
        self._clock = clock
        self._control = _Control(planned.name, draining)
        self._settled = asyncio.Event()
        self._ladder = RestartLadder(planned.value.restart, clock=clock, rng=rng)
        self._task = asyncio.create_task(self._live(), name=f"eggycore service {planned.name}")

    @property
    def task(self) -> asyncio.Task[None]:
        """The task in which it runs; it ends when the service has stopped or died."""
        return self._task

    @property
    def is_serving(self) -> bool:
        """Whether it has said `started()`, and has not ended since."""
        return self._control.serving.is_set()

    async def settled(self) -> None:
        """Wait until it has said `started()`, or it is not critical and will not any more."""
        await self._settled.wait()

    async def _live(self) -> None:
        while not self._control.stopping.is_set():
            error = await self._run_once()
            if self._control.stopping.is_set():
                if error is not None:
                    with contained():
                        raise error
                return
            if error is not None and self._is_in_vain(error):
                self._supervision.service_failed_to_start(self.planned, error)
                return
            self._control.serving.clear()
            delay = self._ladder.next_delay()
            self._supervision.service_crashed(self.planned, error, delay)
            if delay is None:
                self._supervision.service_died(self.planned, self._death(error))
                if not self.planned.value.critical:
                    self._settled.set()
                return
            await self._stopping_within(delay)

    def _is_in_vain(self, error: BaseException) -> bool:
        return self.planned.value.critical and not self._control.ever_served and not is_not_up_yet(error)

    async def _run_once(self) -> BaseException | None:
        """Run it to its end; the exception that ended it, or None when it returned."""
        started = self._clock()
        self._control.on_started = lambda: self._started(self._clock() - started)
        try:
            await self.planned.value.run(self._control)
        except BaseException as error:  # the supervised border: reported by whoever called
            if must_pass(error):
                raise
            return error
        return None

    def _started(self, seconds: float) -> None:
        self._settled.set()
        self._supervision.service_started(self.planned, seconds)

    async def _stopping_within(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._control.stopping.wait(), seconds)
        except TimeoutError:
            return

    def _death(self, error: BaseException | None) -> ServiceDied:
        death = ServiceDied(str(self.planned), reason_of(error), self._ladder.used, self.planned.value.restart)
        death.__cause__ = error
        return death

    async def stop(self, timeout: float) -> None:
        """Tell it to stop and wait until it has.

        Args:
            timeout: Seconds after which it is cancelled; its own `stop_timeout` may be shorter.

        Raises:
            ServiceOverran: It took longer; it was cancelled.
            Exception: Whatever it raised while stopping.
        """
        own = self.planned.value.stop_timeout
        allowed = max(0.0, timeout if own is None else min(own, timeout))
        self._control.stopping.set()
        if not self._control.serving.is_set():
            self._task.cancel()  # it has nothing in flight yet, and need not look at `stopping` before it serves
        await asyncio.wait({self._task}, timeout=allowed)
        if not self._task.done():
            stack = task_stack(self._task)
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CANCEL_GRACE)
            if self._task.done() and not self._task.cancelled():
                self._task.exception()
            raise ServiceOverran(str(self.planned), allowed, stack)
        if not self._task.cancelled():
            self._task.result()


def reason_of(error: BaseException | None) -> str:
    """Why a service ended, without its text: that goes to the log with the stack, and may hold a secret."""
    return "it returned before it was told to stop" if error is None else f"it raised {type(error).__name__}"
