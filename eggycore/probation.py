"""The seconds after a reload in which readiness decides whether the new configuration stays."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from eggycore.config import Configuration
from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError, UsageError
from eggycore.health import Health

__all__ = ["PROBATION", "Probation", "ReadinessLost", "UndoneBefore"]

PROBATION = 30.0
"""Seconds after a reload in which a critical check that turns red brings the old configuration back."""

LOOK_AGAIN = 1.0
"""Seconds between looks at a readiness that is red while no check is."""


@dataclass(eq=False)
class ReadinessLost(EggycoreError):
    """Readiness was lost soon after a reload, and the configuration from before it is back.

    Args:
        checks: The critical checks that turned red.
        keys: The variables whose old values are back.
        seconds: For how long a new configuration is on probation.
    """

    checks: tuple[str, ...]
    keys: tuple[str, ...]
    seconds: float = PROBATION


@diagnose.register
def _(error: ReadinessLost) -> Diagnosis:
    return Diagnosis(
        description=f"Readiness was lost within {error.seconds:g} s of a new configuration, and the old one is back.",
        cause=f"Red: {', '.join(error.checks)}. Changed: {', '.join(error.keys)}.",
        action="Correct what was changed; SIGHUP or the management endpoint has the same values tried again.",
    )


@dataclass(eq=False)
class UndoneBefore(UsageError):
    """A reload that nobody asked for by hand would take over values that have cost readiness before.

    Args:
        checks: The critical checks that turned red then.
        keys: The variables.
    """

    checks: tuple[str, ...]
    keys: tuple[str, ...]


@diagnose.register
def _(error: UndoneBefore) -> Diagnosis:
    return Diagnosis(
        description="The new configuration holds values that were taken back before.",
        cause=f"With {', '.join(error.keys)} as set now, readiness was lost: {', '.join(error.checks)}.",
        action="Change them, or have them tried again with SIGHUP or by the management endpoint.",
    )


_GROUPS = 10
"""Parts of the probation: changes that come in the same stand or fall together, so that few configurations are kept."""


@dataclass
class _Changes:
    """Changes that came soon after each other.

    Args:
        before: The configuration before the first.
        began: When the first was taken over.
        until: When the last has stood the test.
    """

    before: Configuration
    began: float
    until: float = 0.0


class Probation:
    """Watches readiness after a change, on the event loop, and calls back when it is lost.

    Args:
        health: Whose readiness.
        lost: Called once when a critical check turns it red in time, with the names of those that are.
        seconds: How long a change is on probation.
    """

    def __init__(self, health: Health, lost: Callable[[tuple[str, ...]], None], *, seconds: float = PROBATION) -> None:
        self.seconds = seconds
        self._health = health
        self._lost = lost
        self._changes: deque[_Changes] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.Handle | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    @property
    def proven(self) -> Configuration | None:
        """The configuration to return to, while another one is on probation: that before the oldest change that is."""
        return self._changes[0].before if self._changes else None

    def begin(self, before: Configuration) -> None:
        """A change was taken over. It is on probation for the whole time, and with it those after it.

        Args:
            before: The configuration before the change.
        """
        now = asyncio.get_running_loop().time()
        if not self._changes:
            self._unsubscribe = self._health.subscribe(self._look)
        if not self._changes or now - self._changes[-1].began >= self.seconds / _GROUPS:
            self._changes.append(_Changes(before=before, began=now))
        self._changes[-1].until = now + self.seconds
        self._wait_for_the_oldest()

    def end(self) -> None:
        """The configuration in force counts as proven. Idempotent."""
        self._stop_timer()
        self._changes.clear()
        self._stop_looking()

    def _wait_for_the_oldest(self) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_at(self._changes[0].until, self._stood)

    def _stood(self) -> None:
        """The oldest changes have stood the test, whatever was changed since."""
        self._changes.popleft()
        if self._changes:
            self._wait_for_the_oldest()
        else:
            self.end()

    def _look(self, ready: bool) -> None:
        if not ready:  # and later: whoever subscribes is called back before it holds what ends the subscription
            self._again = asyncio.get_running_loop().call_soon(self._judge)

    def _judge(self) -> None:
        if red := self._health.red:
            self._stop_looking()
            self._stop_timer()
            self._lost(red)
        elif self._health.probe("ready").http_status != 200:  # what is stale says nothing yet
            self._again = asyncio.get_running_loop().call_later(LOOK_AGAIN, self._judge)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_looking(self) -> None:
        self._unsubscribe()
        self._unsubscribe = lambda: None
        if self._again is not None:
            self._again.cancel()
            self._again = None
