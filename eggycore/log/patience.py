"""How long callers may wait for the log: enough for what matters to be written, too little to hold anything up."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PATIENCE", "Patience"]

PATIENCE = 0.05
"""Seconds that a caller waits at most for an urgent line to be written."""

_QUICK = 0.001  # the usual hand-over to the writer; not counted
_SHARE = 0.25  # of the time may be waited, in the long run
_BURST = 0.5  # seconds that may be waited before the share counts
_REST = (1.0, 60.0)  # seconds without waiting after a wait in vain: the first and the longest, doubled in between


class Patience:
    """Decides whether a caller waits for a target that is not there yet. Used by all threads; races do no harm.

    A target that is a little slow is waited for, a quarter of the time at most. One that did not take a line within
    `PATIENCE` is not waited for again for a second, then for two, for four, up to a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = _BURST
        self._left_at = clock()
        self._rest_until = 0.0
        self._next_rest = _REST[0]

    def may_wait(self) -> bool:
        """Whether a caller may wait now."""
        now = self._clock()
        self._left = min(self._left + _SHARE * (now - self._left_at), _BURST)
        self._left_at = now
        return self._left > 0 and now >= self._rest_until

    def waited(self, seconds: float, *, in_vain: bool) -> None:
        """Take note of a wait."""
        if seconds > _QUICK:
            self._left -= seconds
        if in_vain:
            self._rest_until = self._clock() + self._next_rest
            self._next_rest = min(2 * self._next_rest, _REST[1])
        else:
            self._next_rest = _REST[0]
