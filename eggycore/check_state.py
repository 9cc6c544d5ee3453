"""What is known about one health check: the threshold machine, without a clock or a task of its own."""

from __future__ import annotations

import math
from typing import Literal

from eggycore.types import HealthCheck

__all__ = ["STALE_INTERVALS", "CheckState", "Status"]

Status = Literal["UP", "DEGRADED", "DOWN", "UNKNOWN"]

STALE_INTERVALS = 3
"""A result older than so many intervals says nothing any more."""


class CheckState:
    """The last result of a check, and how many failures in a row led to it.

    Every time is a reading, in seconds, of one clock that never goes back.

    Args:
        check: The check whose threshold, interval and timeout count.

    Attributes:
        reason: Why the last run was not good; "" when it was.
        failures: Failures in a row.
        has_verdict: Whether it has ever been green, degraded or red.
        has_passed: Whether it has ever been green or degraded.
        since: When the status changed last; NaN before the first run ended.
        seconds: How long the last run took; NaN before that.
    """

    def __init__(self, check: HealthCheck) -> None:
        self._check = check
        self._status: Status = "UNKNOWN"
        self._fresh_until = math.inf
        self.reason = ""
        self.failures = 0
        self.has_verdict = False
        self.has_passed = False
        self.since = math.nan
        self.seconds = math.nan

    def status(self, now: float) -> Status:
        """UNKNOWN before the first verdict, and when the last result is stale."""
        return "UNKNOWN" if self.is_stale(now) else self._status

    @property
    def fresh_until(self) -> float:
        """The time after which the last result is stale; infinity before the first run."""
        return self._fresh_until

    def is_stale(self, now: float) -> bool:
        """Whether the last result says nothing any more."""
        return now > self._fresh_until

    def started(self, now: float) -> None:
        """A run began. While it is within its timeout, a result that is fresh now stays fresh."""
        if not self.is_stale(now):
            self._fresh_until = max(self._fresh_until, now + self._check.timeout)

    def passed(self, now: float, seconds: float) -> None:
        """The run that ended now after `seconds` was good: green at once."""
        self._verdict("UP", "", now, seconds)

    def degraded(self, reason: str, now: float, seconds: float) -> None:
        """The run was good enough to go on with."""
        self._verdict("DEGRADED", reason, now, seconds)

    def failed(self, reason: str, now: float, seconds: float, *, certain: bool) -> None:
        """The run failed: red at the threshold, or at once when the failure is certain."""
        before = self.status(now)
        self.failures += 1
        self.reason = reason
        red = certain or before == "DOWN" or self.failures >= self._check.failure_threshold
        self._settle("DOWN" if red else before, now, seconds)

    def freeze(self) -> None:
        """The check is run no more: its last result stays."""
        self._fresh_until = math.inf

    def _verdict(self, status: Status, reason: str, now: float, seconds: float) -> None:
        self.failures = 0
        self.reason = reason
        self.has_passed = True
        self._settle(status, now, seconds)

    def _settle(self, status: Status, now: float, seconds: float) -> None:
        if status != self._status or math.isnan(self.since):
            self.since = now
        self._status = status
        self.has_verdict = self.has_verdict or status != "UNKNOWN"
        self.seconds = seconds
        self._fresh_until = now + STALE_INTERVALS * self._check.interval
