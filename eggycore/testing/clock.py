"""A clock that stands still until it is told to move."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """Stands in for `time.monotonic` wherever a clock comes in as a parameter.

    Example:
        >>> clock = FakeClock(100.0)
        >>> clock.advance(5)
        >>> clock()
        105.0
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """The time, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds (not negative)."""
        if seconds < 0:
            raise ValueError("a clock does not go back")
        self._now += seconds
