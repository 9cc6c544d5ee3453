"""The seconds after a reload in which readiness decides whether the new configuration stays."""

from __future__ import annotations

import asyncio
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
        self._proven: Configuration | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.Handle | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    @property
    def proven(self) -> Configuration | None:
        """The configuration to return to, while another one is on probation."""
        return self._proven

    def begin(self, before: Configuration) -> None:
        """From now on, for the whole time again: the configuration that has stood the test last is kept.

        Args:
            before: The configuration before the change; proven, unless it was on probation itself.
        """
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(self.seconds, self.end)
        if self._proven is None:
            self._proven = before
            self._unsubscribe = self._health.subscribe(self._look)

    def end(self) -> None:
        """The configuration in force counts as proven. Idempotent."""
        self._stop_timer()
        self._proven = None
        self._stop_looking()

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
