"""What a benchmark hands in: rows of name, ratio and bar; and interleaving, so that the ratios of one run compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median

__all__ = ["Row", "at_least", "at_most", "medians"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure.

    Args:
        name: What was measured, beside what.
        ratio: Ours divided by the other, both of the same run.
        bar: What the ratio has to reach or stay below.
        holds: Whether it does.
    """

    name: str
    ratio: float
    bar: float
    holds: bool

    def to_dict(self) -> dict[str, object]:
        """The row as it stands in results.json, with the ratio to three digits."""
        return asdict(self) | {"ratio": round(self.ratio, 3)}


def at_most(name: str, ratio: float, bar: float) -> Row:
    """A row whose ratio must not be above the bar."""
    return Row(name=name, ratio=ratio, bar=bar, holds=ratio <= bar)


def at_least(name: str, ratio: float, bar: float) -> Row:
    """A row whose ratio must not be below the bar."""
    return Row(name=name, ratio=ratio, bar=bar, holds=ratio >= bar)


def medians(rounds: int, *measure: Callable[[], float]) -> list[float]:
    """The median of each, measured in turn A B C, A B C, ..., so that a drift of the machine meets all alike.

    Args:
        rounds: How often each is measured, after one round that does not count.
        measure: Returns one measurement.
    """
    for once in measure:
        once()
    taken = [[once() for once in measure] for _ in range(rounds)]
    return [median(column) for column in zip(*taken, strict=True)]
