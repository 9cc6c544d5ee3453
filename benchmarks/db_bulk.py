"""`bulk_insert` beside single inserts, one after another and 32 at a time, on PostgreSQL and MariaDB.

The servers are those at the standard ports of this machine. The rate of single inserts is measured with fewer of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from statistics import median

import eggycore_db.drivers  # noqa: F401  # before peewee is imported

import peewee  # isort: skip

from benchmarks.rows import Row, at_least
from eggycore_db import Database, Model
from eggycore_db.pool import PoolLimits

DATABASES = {
    "PostgreSQL": "postgresql://postgres@127.0.0.1:5432/test",
    "MariaDB": "mysql://root@127.0.0.1:3306/test",
}
ROWS = 100_000
SINGLE = 1_000
AT_ONCE = 32
ROUNDS = 3
BAR = 20.0


class Answer(Model):
    """A row of four columns: key, foreign number, text and score."""

    question = peewee.IntegerField()
    text = peewee.CharField()
    score = peewee.FloatField()

    class Meta:
        table_name = "eggycore_bench_bulk"


def rows() -> list[Row]:
    """The ratios of both databases, and of the rate against concurrent single inserts, which has no bar of its own."""
    return [row for name, dsn in DATABASES.items() for row in asyncio.run(_measure(name, dsn))]


async def _measure(name: str, dsn: str) -> list[Row]:
    async with Database(dsn, pool=PoolLimits(max_open=8)) as db:
        await db.run(db.peewee.drop_tables, [Answer])
        await db.run(db.peewee.create_tables, [Answer])
        try:
            bulk, single, at_once = await _medians(db)
        finally:
            await db.run(db.peewee.drop_tables, [Answer])
    print(f"{name}: rows/s: bulk {bulk:,.0f}, one after another {single:,.0f}, {AT_ONCE} at a time {at_once:,.0f}")
    return [
        at_least(f"{name}: bulk_insert, times create one after another", bulk / single, BAR),
        at_least(f"{name}: bulk_insert, times {AT_ONCE} creates at a time", bulk / at_once, 1.0),
    ]


async def _medians(db: Database) -> list[float]:
    """Rows per second of each way, in turn, after one round that does not count."""
    ways: tuple[Callable[[Database], Awaitable[int]], ...] = (_bulk, _one_after_another, _at_once)
    taken: list[list[float]] = [[] for _ in ways]
    for round_ in range(ROUNDS + 1):
        for way, rates in zip(ways, taken, strict=True):
            await db.run(lambda: Answer.truncate_table())
            began = time.perf_counter()
            written = await way(db)
            if round_:
                rates.append(written / (time.perf_counter() - began))
    return [median(rates) for rates in taken]


def _values(number: int) -> dict[str, object]:
    return {"question": number % 100, "text": f"answer number {number}", "score": number / 3}


async def _bulk(db: Database) -> int:
    async def source() -> AsyncIterator[dict[str, object]]:
        for number in range(ROWS):
            yield _values(number)

    return (await db.bulk_insert(Answer, source())).written


async def _one_after_another(db: Database) -> int:
    for number in range(SINGLE):
        await db.create(Answer, **_values(number))
    return SINGLE


async def _at_once(db: Database) -> int:
    async def some(first: int) -> None:
        for number in range(first, SINGLE, AT_ONCE):
            await db.create(Answer, **_values(number))

    await asyncio.gather(*(some(first) for first in range(AT_ONCE)))
    return SINGLE
