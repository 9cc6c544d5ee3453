"""Which values of a Memcached server are valid: Memcached cannot clear a prefix, so values carry a generation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from secrets import randbelow

import orjson

__all__ = ["Generations"]

MOST = 64
"""Generations that are remembered. The values of those before are cleared: each clear costs the oldest ones."""

LARGEST = (1 << 31) - 1
"""A generation has 31 bits: with one more for whether a value is a number it fits into Memcached's flags."""


@dataclass(frozen=True)
class Generations:
    """What the server's state item says: the clears of late, in order, each with the generation that began with it.

    A value carries the generation that its writer took for the newest. It is valid when that is in the list, and no
    later generation began by clearing a prefix of its key.

    Args:
        raw: The state item's value.
        clears: Each generation's number and the prefix that was cleared when it began.
        newest: The last one's number: new values carry it.
    """

    raw: bytes
    clears: tuple[tuple[int, str], ...]
    newest: int

    @classmethod
    def first(cls, *, draw: Callable[[int], int] = randbelow) -> Generations:
        """A list that makes every value from before invalid."""
        return _made([(draw(LARGEST) + 1, "")])

    @classmethod
    def parse(cls, raw: bytes) -> Generations | None:
        """The list as the server has it; None when it is none."""
        try:
            clears = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(clears, list) or not clears or not all(map(_is_clear, clears)):
            return None
        return cls(raw, tuple((number, prefix) for number, prefix in clears), clears[-1][0])

    def cleared(self, prefixes: Iterable[str], *, draw: Callable[[int], int] = randbelow) -> Generations:
        """The list after clearing these prefixes; "" is everything."""
        wanted = sorted(set(prefixes))
        if "" in wanted:
            wanted = [""]
        clears = list(self.clears)
        taken = {number for number, _ in clears}
        for prefix in wanted:
            while (number := draw(LARGEST) + 1) in taken:
                pass
            taken.add(number)
            clears = [*clears, (number, prefix)] if prefix else [(number, "")]
        return _made(clears[-MOST:])

    def holds(self, generation: int, key: str) -> bool:
        """Whether a value of this key and generation is valid."""
        if generation == self.newest:
            return True
        found = False
        for number, prefix in self.clears:
            if found and key.startswith(prefix):
                return False
            found = found or number == generation
        return found


def _made(clears: list[tuple[int, str]]) -> Generations:
    return Generations(orjson.dumps(clears), tuple(clears), clears[-1][0])


def _is_clear(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], int)
        and not isinstance(entry[0], bool)
        and isinstance(entry[1], str)
    )
