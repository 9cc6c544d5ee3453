"""The circuit breaker of one server: after some failures in a row it is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import random as draw
from typing import Literal, TypeAlias

__all__ = ["Breaker", "State"]

State: TypeAlias = Literal["closed", "open", "half-open"]


class Breaker:
    """Decides whether a server may be asked. No task, no lock: it belongs to one event loop.

    Closed, everything may be asked. `threshold` failures in a row open it, and nothing may be asked until it has
    cooled down. Then it is half-open: exactly one probe may be asked, until that reports. Success closes it; failure
    opens it again, for twice as long.

    Reports that come in while it is open belong to requests from before, and change nothing but `errors` and `reason`.

    Args:
        threshold: Failures in a row that open it, at least 1.
        cooldown: Seconds that it is open the first time. At random up to half of that is left out, so that many
            processes do not come back at once.
        max_cooldown: Seconds that doubling ends at.
        clock: Seconds, never going back.
        random: A number from 0 to below 1.

    Attributes:
        changed: Called when it has opened that was closed, and when it has closed again; not at each failed probe.

    Example:
        >>> breaker = Breaker(threshold=1)
        >>> breaker.failed("connection refused")
        >>> breaker.allow(), breaker.state, breaker.reason
        (False, 'open', 'connection refused')
    """

    def __init__(
        self,
        *,
        threshold: int = 3,
        cooldown: float = 1.0,
        max_cooldown: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = draw,
    ) -> None:
        self._threshold = threshold
        self._first_cooldown = cooldown
        self._max_cooldown = max_cooldown
        self._clock = clock
        self._random = random
        self._cooldown = cooldown
        self._in_a_row = 0
        self._until = 0.0
        self._state: State = "closed"
        self._reason = ""
        self._errors = 0
        self.changed: Callable[[], None] = _nobody_told

    @property
    def state(self) -> State:
        """Closed, open (also when it has cooled down and nobody has asked since), or half-open while a probe runs."""
        return self._state

    @property
    def reason(self) -> str:
        """Why the last failure was one; "" when nothing has failed since the last success."""
        return self._reason

    @property
    def errors(self) -> int:
        """Failures of all time."""
        return self._errors

    @property
    def ready(self) -> bool:
        """Whether `allow` would say yes now; takes no probe."""
        return self._state == "closed" or (self._state == "open" and self._clock() >= self._until)

    def allow(self) -> bool:
        """Whether to ask now. A yes must be followed by a report: `succeeded`, `failed` or `released`."""
        if self._state == "closed":
            return True
        if not self.ready:
            return False
        self._state = "half-open"
        return True

    def succeeded(self) -> None:
        """The server has answered."""
        if self._state == "open":
            return
        if self._in_a_row:
            was, self._state = self._state, "closed"
            self._in_a_row = 0
            self._cooldown = self._first_cooldown
            self._reason = ""
            if was != "closed":
                self.changed()

    def failed(self, reason: str) -> None:
        """The server has not answered.

        Args:
            reason: Why, for people, without secrets.
        """
        self._errors += 1
        self._reason = reason
        if self._state == "open":
            return
        self._in_a_row += 1
        if self._state == "half-open":
            self._cooldown = min(self._cooldown * 2, self._max_cooldown)
            self._open()
        elif self._in_a_row >= self._threshold:
            self._open()
            self.changed()

    def released(self) -> None:
        """The probe was given up before it could tell: the next caller may make it."""
        if self._state == "half-open":
            self._state = "open"

    def _open(self) -> None:
        self._state = "open"
        self._until = self._clock() + self._cooldown * (1 - self._random() / 2)


def _nobody_told() -> None:
    return None
