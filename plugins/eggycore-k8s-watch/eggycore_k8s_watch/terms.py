"""A term of leadership: how long this process may believe that it leads, by its own clock only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["LeaseTerm", "boot_clock"]

BELIEVED = 2 / 3
"""The part of the Lease's duration, counted from before the last renewal was sent, in which its holder leads."""

USABLE = 0.9
"""Likewise, in which what it had begun may still be finished. Nobody else leads before all of it is over."""


def boot_clock() -> float:
    """Seconds on a clock that never goes back, and that counts on while the machine is suspended where there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class LeaseTerm:
    """A `Term` that lasts as long as its Lease is renewed in time.

    Every question reads the clock, so that a process that was stopped gives the right answer the moment it goes on.
    `token`, `lasts` and `seconds_left` may be called from any thread.

    Args:
        token: Greater than that of every term before.
        renewed_at: Seconds on `clock`: before the write was sent that began it.
        duration: The Lease's, in seconds.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(self, token: int, *, renewed_at: float, duration: float, clock: Callable[[], float]) -> None:
        self.token = token
        self.over = asyncio.Event()
        self.reason = ""
        """Why it is over."""
        self._duration = duration
        self._clock = clock
        self._renewed_at = renewed_at
        self._is_lost = False

    @property
    def until(self) -> float:
        """The moment on the clock at which it is over unless it is renewed."""
        return self._renewed_at + self._duration * BELIEVED

    def lasts(self) -> bool:
        """Whether it is going on now."""
        return not self._is_lost and self._clock() < self.until

    def seconds_left(self) -> float:
        """Seconds until another process may lead, at the earliest; 0 or less when it may."""
        return self._renewed_at + self._duration * USABLE - self._clock()

    def renew(self, at: float) -> None:
        """A renewal has succeeded that was sent after this moment."""
        self._renewed_at = max(self._renewed_at, at)

    def wind_up(self, reason: str) -> None:
        """It goes on, and whoever works in it is to finish. On the event loop."""
        self.reason = self.reason or reason
        self.over.set()

    def lose(self, reason: str) -> None:
        """It is over: this process leads no more. On the event loop."""
        self._is_lost = True
        self.wind_up(reason)
