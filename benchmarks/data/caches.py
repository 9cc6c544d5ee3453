"""CacheService beside a raw client: 32 tasks and one, small values and large ones, read and set with confirmation."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.data.contender import Contender, compare, running
from benchmarks.data.contenders.measured import SIZES
from benchmarks.rows import Row, at_least

__all__ = ["beside_raw_client"]

BARS = {32: 2.0, 1: 0.8}
"""What has to be reached, by tasks: concurrent callers share round trips, one alone cannot."""


def beside_raw_client(server: str, client: str, ours: Contender, raw: Sequence[Contender]) -> list[Row]:
    """Operations per second as multiples of the raw client's.

    Args:
        server: For the table.
        client: Likewise.
        ours: What is measured.
        raw: Ways to use the client, of which the faster one counts.
    """
    found = []
    with running([ours, *raw]):
        for tasks, bar in BARS.items():
            for size in SIZES:
                for operation in ("get", "set"):
                    rate, *rates = compare([ours, *raw], f"{operation}-{size}", tasks)
                    who = f"{tasks} tasks" if tasks > 1 else "1 task"
                    name = f"{server}: {operation} {_text(size)}, {who}, times {client}"
                    found.append(at_least(name, rate / max(rates), bar))
    return found


def _text(size: int) -> str:
    return f"{size // 1000} kB" if size >= 1000 else f"{size} B"
