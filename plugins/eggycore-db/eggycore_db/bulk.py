"""Batches: many rows inserted, upserted or updated in constant memory, of which a bad one costs only itself."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from eggycore.errors import Unavailable
from eggycore_db.bulk_errors import BulkInterrupted
from eggycore_db.bulk_faults import RowError
from eggycore_db.bulk_rows import Row
from eggycore_db.bulk_writing import Batch, Outcome, Writing

if TYPE_CHECKING:
    from eggycore_db.pool import Pool
    from eggycore_db.transaction import Transaction

__all__ = ["BulkResult", "Load", "Progress", "RowError", "Rows"]

ERRORS_KEPT = 1000
"""Errors of rows that a result holds, the first ones; all are counted."""

PULL_FOR = 0.01
"""Seconds after which the event loop gets its turn while rows of a plain iterable are taken."""

MANY = 1000
"""Rows of a first batch from which on it is worth a connection that can COPY."""

SLICE = 100
"""Rows of a plain iterable that are taken between two looks at the clock."""

Rows: TypeAlias = "Iterable[Row] | AsyncIterable[Row]"
Progress: TypeAlias = "Callable[[int], Awaitable[object] | object]"


@dataclass(frozen=True)
class BulkResult:
    """What came of a batch.

    Args:
        written: Rows that are in the database as they were given.
        failed: Rows that are not, each for itself.
        errors: The first 1,000 of them, in the order in which they were given.
        seconds: How long it took.
    """

    written: int
    failed: int
    errors: tuple[RowError, ...] = field(repr=False)
    seconds: float


class Load:
    """One call: what is on its way, and what came of what was sent. Used by the task that made it, and no other.

    Args:
        transaction: In it, if there is one, batches are written one after another.
        pool: Takes batches else.
        writing: How a batch is written.
        on_progress: Called with the number of rows that are dealt with.
        concurrency: How many batches are on their way at the most.
    """

    def __init__(
        self,
        transaction: Transaction | None,
        pool: Pool,
        writing: Writing,
        on_progress: Progress | None,
        concurrency: int,
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency is to be at least 1")
        self._transaction = transaction
        self._pool = pool
        self._writing = writing
        self._on_progress = on_progress
        self._concurrency = concurrency
        self._under_way: dict[asyncio.Future[Outcome], Batch] = {}
        self._done: deque[asyncio.Future[Outcome]] = deque()
        self._ends: dict[int, int] = {}  # of batches that are dealt with, while one before them is not
        self._taken = self._written = self._failed = self._resume = self._in_doubt = 0
        self._errors: list[RowError] = []

    async def run(self, rows: Rows, batch_size: int) -> BulkResult:
        """Take every row and write it.

        Raises:
            BulkInterrupted: Something ended it. Inside a transaction, all of which is rolled back then, what it was.
        """
        if batch_size < 1:
            raise ValueError("batch_size is to be at least 1")
        began = time.perf_counter()
        try:
            await self._run(rows, batch_size)
        except Exception as error:  # the border to the source, the callback and the server
            if self._transaction is not None:
                raise
            raise await self._interrupted(error) from error
        finally:
            for future in self._under_way:  # cancelled: what has not begun is dropped, what has goes on to its end
                future.cancel()
        return BulkResult(self._written, self._failed, tuple(self._first_errors()), time.perf_counter() - began)

    async def _run(self, rows: Rows, batch_size: int) -> None:
        pulled = self._pulled(rows, batch_size) if isinstance(rows, AsyncIterable) else self._sliced(rows, batch_size)
        async with aclosing(pulled) as batches:
            async for batch in batches:
                await self._send(batch)
                del batch  # it is not to be kept while the next one is taken
        while self._under_way:
            await self._settle_one()

    async def _interrupted(self, error: Exception) -> BulkInterrupted:
        """What to tell, once it is known what becomes of what is still under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)
            await asyncio.sleep(0)  # their callbacks are next
            while self._done:
                with suppress(Exception):  # the first error is the one that is told
                    self._take(self._done.popleft())
        return BulkInterrupted(
            table=self._writing.table,
            taken=self._taken,
            written=self._written,
            failed=self._failed,
            in_doubt=self._in_doubt,
            resume=self._resume,
            cause=error,
        )

    # --- from the source

    async def _sliced(self, rows: Iterable[Row], batch_size: int) -> AsyncGenerator[Batch, None]:
        iterator, began = iter(rows), time.monotonic()
        while True:
            batch = Batch(self._taken, [])
            while len(batch.rows) < batch_size:
                some = list(islice(iterator, min(SLICE, batch_size - len(batch.rows))))
                if not some:
                    break
                batch.rows += some
                self._taken += len(some)
                if time.monotonic() - began > PULL_FOR:
                    await asyncio.sleep(0)
                    began = time.monotonic()
            if not batch.rows:
                return
            yield batch

    async def _pulled(self, rows: AsyncIterable[Row], batch_size: int) -> AsyncGenerator[Batch, None]:
        batch = Batch(0, [])
        try:
            async for row in rows:
                batch.rows.append(row)
                self._taken += 1
                if len(batch.rows) >= batch_size:
                    yield batch
                    batch = Batch(self._taken, [])
                if self._done:  # a slow source is not to keep back what has become of the rows before
                    await self._settle()
        finally:
            if isinstance(rows, AsyncGenerator):
                await rows.aclose()
        if batch.rows:
            yield batch

    # --- to the database

    async def _send(self, batch: Batch) -> None:
        if self._transaction is not None:
            self._count(
                batch,
                await self._transaction.run(self._writing.write, (batch,), blocking=self._is_worth_blocking(batch)),
            )
            await self._report()
            return
        while len(self._under_way) >= self._concurrency:
            await self._settle_one()
        future = self._pool.submit(self._writing.write, (batch,), blocking=self._is_worth_blocking(batch))
        self._under_way[future] = batch
        future.add_done_callback(self._on_done)

    def _is_worth_blocking(self, batch: Batch) -> bool:
        """Whether a faster way to write is worth a connection that is made for it."""
        return self._writing.copies and (batch.start > 0 or len(batch.rows) >= MANY)

    def _on_done(self, future: asyncio.Future[Outcome]) -> None:
        self._done.append(future)
        if not future.cancelled():
            future.exception()  # so that nothing complains when nobody asks any more

    async def _settle_one(self) -> None:
        if not self._done:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)  # the callback is next
        await self._settle()

    async def _settle(self) -> None:
        while self._done:
            self._take(self._done.popleft())
            await self._report()

    def _take(self, future: asyncio.Future[Outcome]) -> None:
        """Count what became of a batch; raises what ended it."""
        batch = self._under_way.pop(future)
        try:
            outcome = future.result()
        except Unavailable:
            if batch.committing:
                self._in_doubt += len(batch.rows)
            raise
        self._count(batch, outcome)

    def _count(self, batch: Batch, outcome: Outcome) -> None:
        self._written += outcome.written
        self._failed += len(outcome.errors)
        self._errors += outcome.errors
        if len(self._errors) > 2 * ERRORS_KEPT:
            self._errors = self._first_errors()
        self._ends[batch.start] = batch.start + len(batch.rows)
        while (end := self._ends.pop(self._resume, None)) is not None:
            self._resume = end

    async def _report(self) -> None:
        if self._on_progress is None:
            return
        answer = self._on_progress(self._written + self._failed)
        if inspect.isawaitable(answer):
            await answer

    def _first_errors(self) -> list[RowError]:
        """Those that were given first."""
        return sorted(self._errors, key=lambda error: error.index)[:ERRORS_KEPT]
