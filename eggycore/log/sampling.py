"""Thins out chatty lines: the first N of a message in each second, then every Mth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Sampler", "Sampling"]

MESSAGES_LIMIT = 4096
"""Messages counted at a time; beyond it the counts start anew, so that messages made from data cost no memory."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How lines below warning are thinned out.

    Args:
        first: Lines of one message let through in each second.
        every: After those, one line in this many is let through; 0 lets none through.
    """

    first: int
    every: int = 0

    @classmethod
    def read(cls, text: str) -> Sampling | None:
        """Read "100" or "100:50"; "" is no sampling.

        Raises:
            ValueError: It is neither; the text says what is expected.
        """
        if not text:
            return None
        first, _, every = text.partition(":")
        numbers = (first, every or "0")
        if not all(number.isascii() and number.isdigit() for number in numbers) or int(first) < 1:
            raise ValueError('not of the form "100" (the first 100 a second) or "100:50" (then every 50th)')
        return cls(first=int(first), every=int(numbers[1]))


class Sampler:
    """Counts the lines of each message. Any thread may ask; under a race a line too many may pass."""

    def __init__(self, sampling: Sampling, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._first = sampling.first
        self._every = sampling.every
        self._clock = clock
        self._second = 0
        self._seen: dict[tuple[int, str], int] = {}
        self._held: dict[tuple[int, str], int] = {}
        self.held_back = 0
        """Lines held back since the start."""

    def admit(self, level: int, message: str) -> int:
        """-1 when the line is to be held back; else how many like it were held back since the last that passed."""
        second = int(self._clock())
        if second != self._second or len(self._seen) > MESSAGES_LIMIT:
            self._second = second
            self._seen = {}
        key = (level, message)
        number = self._seen.get(key, 0) + 1
        self._seen[key] = number
        if number <= self._first or (self._every and (number - self._first) % self._every == 0):
            return self._held.pop(key, 0) if self._held else 0
        self.held_back += 1
        if len(self._held) < MESSAGES_LIMIT or key in self._held:
            self._held[key] = self._held.get(key, 0) + 1
        return -1
