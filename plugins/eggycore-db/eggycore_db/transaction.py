"""A transaction of asyncio code on a connection of its own, replayed when it is lost to another one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import peewee

from eggycore.errors import EggycoreError
from eggycore_db.jobs import Job
from eggycore_db.prepared import Prepared
from eggycore_db.transaction_errors import TransactionAborted, TransactionConflict, TransactionOfAnotherTask

if TYPE_CHECKING:
    from eggycore_db.database import Database
    from eggycore_db.pool import Pool
    from eggycore_db.workers import Worker

__all__ = ["Isolation", "Transaction"]

Isolation: TypeAlias = Literal["read committed", "repeatable read", "serializable"]

BACKOFF, BACKOFF_MAX = 0.02, 1.0
"""Seconds: bounds of the delay before a replay, doubled each time with full jitter, so that two do not meet again."""


@dataclass(frozen=True)
class _Step:
    """Something that was done in a transaction, and what came of it.

    Args:
        function: Run in the worker.
        args: Its arguments.
        kwargs: Likewise.
        seen: What it returned, as it was then: a caller may change the rows that it was given.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    seen: Any


class Transaction:
    """One transaction, on a connection of its own while it lasts. Belongs to the task that opened it.

    It begins with the first thing that is done in it; one in which nothing is done costs nothing.

    Args:
        database: The database.
        pool: Where its connection comes from.
        retries: How often it is replayed when it loses against another transaction.
        isolation: How much of other transactions it sees; the server's default when None. SQLite has one kind only.
        opened_at: File and line, for messages.
    """

    def __init__(
        self, database: Database, pool: Pool, *, retries: int, isolation: Isolation | None, opened_at: str
    ) -> None:
        self.opened_at = opened_at
        self.is_open = False
        self._database = database
        self._pool = pool
        self._retries = retries
        self._isolation = isolation
        self._worker: Worker | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._attempts = 1
        self._steps: list[_Step] = []
        self._block: Any = None
        self._handed_over = False  # whether a function of peewee's was given to the worker
        self._ended: TransactionConflict | TransactionAborted | None = None

    def open(self) -> None:
        """It belongs to this task now; it takes a connection with the first thing that is done in it."""
        self._owner = asyncio.current_task()
        self.is_open = True

    def check_task(self) -> None:
        """Refuse a task that is not the one that opened the transaction.

        Raises:
            TransactionOfAnotherTask: It is another.
        """
        task = asyncio.current_task()
        if task is not self._owner:
            names = [one.get_name() if one is not None else "no task" for one in (task, self._owner)]
            raise TransactionOfAnotherTask(names[0], names[1], self.opened_at)

    async def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        again: Callable[[Any], Callable[[], Any]] | None = None,
        prepared: Prepared | None = None,
        blocking: bool = False,
    ) -> Any:
        """Run a function in it; replays what was done before when the transaction is lost to another one.

        Args:
            function: What to run.
            args: Its arguments.
            kwargs: Likewise.
            again: Makes of the result what a replay runs instead: an insert uses the key that it was given.
            prepared: Does the same as the function, and may be sent by the event loop.
            blocking: Whether the function is faster on a connection on which the driver itself waits.
        """
        self.check_task()
        self._check_not_ended()
        kwargs = kwargs or {}
        while True:
            try:
                result = await self._in_worker(function, args, kwargs, prepared, blocking=blocking)
                break
            except peewee.PeeweeException as error:
                await self._lost(error)
        if self._retries:
            if again is not None:
                function, args, kwargs = again(result), (), {}
            self._steps.append(_Step(function, args, kwargs, _seen(result)))
        return result

    async def close(self, error: BaseException | None) -> None:
        """Commit, or roll back when there is an error, and give the connection back."""
        self.is_open = False
        if self._worker is None:
            return
        if error is not None or self._ended is not None:
            await self._end()
            self._check_not_ended(unless=error)
        while error is None and self._worker is not None:
            try:
                await self._last(self._commit, "COMMIT")
                return
            except peewee.PeeweeException as failure:
                await self._begin_anew(failure)

    async def _end(self) -> None:
        """Roll back; whatever makes that fail has ended the transaction too, and must not hide why it ends."""
        with suppress(EggycoreError, peewee.PeeweeException):
            await self._last(self._roll_back, "ROLLBACK")

    def doom(self) -> None:
        """A savepoint could not be gone back to: what was done since then must not be committed."""
        self._ended = self._ended or TransactionAborted(self.opened_at)

    def _check_not_ended(self, unless: BaseException | None = None) -> None:
        """Refuse to go on after the server has ended it, as each statement would then stand by itself."""
        if self._ended is not None and unless is None:
            raise replace(self._ended) from self._ended.__cause__

    async def _begin_anew(self, failure: peewee.PeeweeException) -> None:
        """Replay after a commit that failed, on another connection: that of the commit is free for others."""
        self._let_worker_go()
        try:
            await self._lost(failure)
        except BaseException:
            if self._worker is not None:
                await self._end()
            raise

    def _let_worker_go(self) -> None:
        self._worker = self._block = None
        self._handed_over = False

    def mark(self) -> int:
        """How many steps there are, for `forget_since`."""
        return len(self._steps)

    def forget_since(self, mark: int) -> None:
        """Steps since then were rolled back to a savepoint, so a replay leaves them out."""
        del self._steps[mark:]

    async def _lost(self, error: peewee.PeeweeException) -> None:
        """Replay every step after the server has ended the transaction for another one.

        Raises:
            TransactionConflict: There are no retries left, or a step gives another result than before.
            PeeweeException: The error is another one.
        """
        if not self._pool.engine.conflict(error):
            raise error
        while True:
            if self._attempts > self._retries:
                raise self._ended_by(error) from error
            if self._worker is not None:
                await self._given(Job(self._pool.mail, self._roll_back, (), {}))
            await asyncio.sleep(random.uniform(0, min(BACKOFF_MAX, BACKOFF * 2**self._attempts)))
            self._attempts += 1
            try:
                await self._replay(error)
                return
            except peewee.PeeweeException as again:
                if not self._pool.engine.conflict(again):
                    raise
                error = again

    async def _replay(self, error: peewee.PeeweeException) -> None:
        for step in self._steps:
            result = await self._in_worker(*_fresh(step))
            if _seen(result) != step.seen:
                raise self._ended_by(error, getattr(step.function, "__qualname__", "a step")) from error

    def _ended_by(self, error: BaseException, differing: str = "") -> TransactionConflict:
        self._ended = TransactionConflict(_said(error), self._attempts, differing)
        self._ended.__cause__ = error
        return self._ended

    async def _in_worker(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        prepared: Prepared | None = None,
        *,
        blocking: bool = False,
    ) -> Any:
        if self._worker is None:
            return await self._first(function, args, kwargs, prepared, blocking=blocking)
        if self._by_loop and prepared is not None:
            job = Job(self._pool.mail, self._begin_and, (function, args, kwargs), {})
            prepared.begin = self._begin
            job.prepared = prepared
            return await self._given(job)
        if self._block is None:  # it was rolled back, and begins again; or peewee is to know of it from here on
            return await self._given(Job(self._pool.mail, self._begin_and, (function, args, kwargs), {}))
        return await self._given(Job(self._pool.mail, function, args, kwargs))

    @property
    def _by_loop(self) -> bool:
        """Whether all of it was sent by the event loop, so that peewee knows nothing of it."""
        return self._block is None and self._attempts == 1 and not self._handed_over

    @property
    def _begin(self) -> str:
        return f"BEGIN ISOLATION LEVEL {self._isolation.upper()}" if self._isolation is not None else "BEGIN"

    async def _first(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        prepared: Prepared | None,
        *,
        blocking: bool,
    ) -> Any:
        """Begin it, on a worker that is held from then on."""
        task = self._owner.get_name() if self._owner is not None else "no task"
        holder = f"a transaction opened at {self.opened_at} in {task}"
        if prepared is not None:
            prepared.begin = self._begin
        work = (function, args, kwargs)
        job = self._pool.claim(holder, self._begin_and, work, prepared=prepared, blocking=blocking)
        try:
            return await job.future
        finally:
            if not job.future.cancelled():
                self._worker = job.worker

    async def _given(self, job: Job[Any]) -> Any:
        assert self._worker is not None
        job.last = False
        self._handed_over = self._handed_over or job.prepared is None
        self._worker.give(job)
        return await job.future

    async def _last(self, function: Callable[[], Any], sql: str) -> None:
        """End it, after which the connection is free for others.

        Args:
            function: Does so in the worker.
            sql: Does so when peewee knows nothing of it.
        """
        assert self._worker is not None
        job = Job(self._pool.mail, function, (), {})
        if self._by_loop:
            job.prepared = Prepared(sql, (), partial(self._check_ended, sql), observed=False)
        self._worker.give(job)
        await job.future

    def _check_ended(self, sql: str, cursor: Any) -> None:
        """Refuse what the server did instead: it rolls back what is asked to commit after a statement failed."""
        if cursor.statusmessage != sql:
            raise TransactionAborted(self.opened_at)

    # --- in the worker

    def _begin_and(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._block is None:
            options = {} if self._isolation is None else {"isolation_level": self._isolation.upper()}
            if self._pool.engine.kind == "sqlite":
                options = {}
            self._block = self._database.peewee.transaction(**options)
            self._block.__enter__()
        return function(*args, **kwargs)

    def _commit(self) -> None:
        if self._pool.engine.is_aborted():
            raise TransactionAborted(self.opened_at)
        if self._block is None:  # the event loop was about to end it, and the worker has to
            self._pool.engine.peewee.commit()
        else:
            self._block.__exit__(None, None, None)

    def _roll_back(self) -> None:
        self._block = None
        self._pool.engine.reset()


def _said(error: BaseException) -> str:
    from eggycore_db.server import text_of

    return text_of(error)


def _seen(result: Any) -> Any:
    """What a result shows now, to be compared with what it shows another time."""
    if isinstance(result, peewee.Model):
        return type(result), dict(result.__data__)
    if isinstance(result, list | tuple):
        return [_seen(one) for one in result]
    return dict(result) if isinstance(result, dict) else result


def _fresh(step: _Step) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """A step that asks the server once more: a query of peewee's keeps the rows that it has found."""
    function, query = step.function, getattr(step.function, "__self__", None)
    if isinstance(query, peewee.BaseQuery):
        function = getattr(query.clone(), step.function.__name__)
    args = tuple(one.clone() if isinstance(one, peewee.BaseQuery) else one for one in step.args)
    return function, args, step.kwargs
