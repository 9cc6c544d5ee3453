"""Workers: each owns one connection, which its thread uses, or the event loop while the thread sleeps."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from eggycore_db.current import here
from eggycore_db.errors import DatabaseClosed, DatabaseUnavailable, QueryTimeout
from eggycore_db.jobs import Job
from eggycore_db.sql import as_peewees_error, observed
from eggycore_db.transaction_errors import TransactionLeftOpen

if TYPE_CHECKING:
    from eggycore_db.engine import Line
    from eggycore_db.pool import Pool

__all__ = ["Worker"]

LIFETIME_JITTER = 0.1
"""Part of a lifetime by which connections differ, so that they do not all end at once."""


def _let_go() -> None:
    """The last work of a worker that was held: nothing, after which its connection is reset like after any."""


class Worker:
    """One thread with one connection.

    What is prepared is sent by the event loop itself while the thread sleeps, where the connection allows it: that
    spares two changes of threads, which take longer than the work. `begin`, `give`, `release`, `dismiss` and what
    they call are for the event loop, `cut` for any thread; the rest runs in the worker's. It is a daemon, so that a
    process that forgot to close is not kept alive by it.

    Args:
        pool: Whom it asks for work, and tells how connecting went.
    """

    def __init__(self, pool: Pool) -> None:
        self._inbox: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self.ended: ThreadFuture[None] = ThreadFuture()
        self.ended.set_running_or_notify_cancel()  # from here on a cancelled close() cannot cancel it
        self.holder = ""
        """Who has it for several units of work; "" for nobody."""
        self.since = time.monotonic()
        """When it became busy or idle."""
        self.taken = self.since
        """When its holder took it."""
        self.born = self.since
        self.span = 1 - LIFETIME_JITTER * random.random()
        """The part of a lifetime after which it is replaced."""
        self.generation = pool.generation
        self.job: Job[Any] | None = None
        self.broken: DatabaseUnavailable | None = None
        """Why its connection is of no use any more."""
        self._pool = pool
        self._engine = pool.engine
        self._cut: Callable[[], None] | None = None
        self._line: Line | None = None  # None while only the thread can use the connection
        self._in_loop = False  # whether the loop uses the connection now, and the thread sleeps
        self._kept: deque[Job[Any] | None] = deque()  # what is to be done after that
        self._handed = self._done = 0  # jobs given to the thread by the loop, and those of them that it has done
        self._turn = threading.Lock()
        self._dismissed = False
        self._in_hold = False  # whether work was done since it was taken: then the connection may have a transaction
        self._thread = threading.Thread(target=self._live, name=f"eggycore-db-{pool.name}", daemon=True)

    @property
    def connects(self) -> bool:
        """Whether it has no connection, or none yet."""
        return self._cut is None

    @property
    def blocks(self) -> bool:
        """Whether only its thread can use its connection."""
        return self._line is None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for what it does."""
        job = self.job
        return job is not None and not job.future.done()

    def start(self) -> None:
        """Begin; raises RuntimeError when the system gives no thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the thread, which is near once `ended` is done."""
        self._thread.join()

    def give(self, job: Job[Any]) -> None:
        """Have work done for whoever holds it.

        Raises:
            DatabaseClosed: The database was closed meanwhile.
        """
        if self._dismissed:
            raise DatabaseClosed(self._engine.location)
        self.begin(job, rested=not self._in_hold)

    def dismiss(self) -> None:
        """Have it end after what it is doing, whoever holds it."""
        self._dismissed = True
        self._hand_over(None)

    def release(self) -> None:
        """Say that whoever held it needs it no more."""
        job: Job[None] = Job(self._pool.mail, _let_go, (), {})
        job.future.cancel()  # nobody waits for it
        self._hand_over(job)

    def begin(self, job: Job[Any], *, rested: bool = True) -> None:
        """Have work done, here or in the thread.

        Args:
            job: The work.
            rested: Whether the connection was idle before, so that its server may have ended it.
        """
        line = self._line
        if line is None or job.prepared is None or self.broken is not None or job.future.cancelled():
            self._hand_over(job)
        elif self._in_loop:
            self._kept.append(job)
        elif self._handed != self._done:
            self._hand_over(job)  # behind what the thread has to do before
        elif rested and not line.is_quiet():
            self._hand_over(job)  # the thread sees to it
        else:
            self._send(job, line)

    def cut(self, job: Job[Any] | None) -> bool:
        """End what the connection waits for, if it still is this job; whether it was. In any thread."""
        with self._turn:
            if self.job is not job or self._cut is None:
                return False
            self._cut()
            return True

    def _hand_over(self, job: Job[Any] | None) -> None:
        """Have the thread do it, or end, once the loop does not use the connection any more."""
        if self._in_loop:
            self._kept.append(job)
            return
        if self._line is not None:
            self._line.let_go()
        self._handed += 1
        self._inbox.put(job)

    # --- in the event loop, with the connection

    def _send(self, job: Job[Any], line: Line) -> None:
        assert job.prepared is not None
        self._in_loop = True
        with self._turn:
            self.job = job
        self.since = time.monotonic()
        if job.claims:
            self.holder, self.taken, job.worker = job.claims, self.since, self
        loop = job.mail.loop
        began = time.perf_counter()
        try:
            line.send(loop, job.prepared, partial(self._answered, job, line, began))
        except Exception as error:  # noqa: BLE001  # the border to the driver: whatever it is goes to the caller
            loop.call_soon(self._answered, job, line, began, None, error)

    def _answered(self, job: Job[Any], line: Line, began: float, cursor: Any, error: BaseException | None) -> None:
        """Do what is next with the connection, and give the outcome to who waits."""
        with self._turn:
            self.job = None
        try:
            job.result = job.context.run(self._finished, job, began, cursor, error)
        except BaseException as raised:  # noqa: BLE001  # the border of the loop: whatever it is goes to the caller
            job.error = self._judged(raised, job, line)
        self._in_loop = False
        self._in_hold = not job.last
        following: Job[Any] | None = None
        goes_on = True
        if job.last:
            self.holder = ""
            if self.broken is None and not line.is_reset:
                self.release()  # the thread resets it, and asks for more
            else:
                following, goes_on = self._pool.next_for(self)
        job.settle()
        if not goes_on:
            self._hand_over(None)
        elif following is not None:
            self.begin(following, rested=False)
        while self._kept and not self._in_loop:
            if (kept := self._kept.popleft()) is None:
                self._hand_over(None)
            else:
                self.begin(kept, rested=False)

    def _finished(self, job: Job[Any], began: float, cursor: Any, error: BaseException | None) -> Any:
        prepared = job.prepared
        assert prepared is not None
        with observed(self._engine.peewee, prepared.sql, began) if prepared.observed else as_peewees_error:
            if error is not None:
                raise error
        return prepared.finish(cursor)

    # --- in the thread

    def _live(self) -> None:
        here.database, here.writes = self._pool.database, self._pool.writes
        if self._connect():
            job, goes_on = self._pool.connected(self)
            rested = False
            while goes_on:
                if job is None:
                    rested = True
                    if (job := self._inbox.get()) is None:
                        break
                job, goes_on = self._work(job, rested=rested)
                rested = False
            self._disconnect()
        self._pool.gone(self)
        self.ended.set_result(None)

    def _connect(self) -> bool:
        try:
            self._open()
        except Exception as error:  # noqa: BLE001  # the border of the thread: what a driver raises goes to the pool
            self._engine.disconnect()
            self._pool.not_connected(self, self._engine.explain(error))
            return False
        self.broken = None
        return True

    def _open(self, *, blocking: bool = False) -> None:
        with self._pool.connecting:
            self._cut = self._engine.connect(blocking=blocking)
        self._line = self._engine.line()

    def _disconnect(self) -> None:
        with self._turn:
            self._cut = None
        self._line = None
        self._engine.disconnect()

    def _work(self, job: Job[Any], *, rested: bool) -> tuple[Job[Any] | None, bool]:
        """Do one unit of work, then find the next; whether the thread goes on."""
        with self._turn:
            self.job = job
        self.since = time.monotonic()
        if job.claims:
            self.holder, self.taken, job.worker = job.claims, self.since, self
        if not job.future.cancelled():
            self._do(job, rested=rested)
        elif job.last:
            self._reset(job)
        with self._turn:
            self.job = None
        following: tuple[Job[Any] | None, bool] = (None, True)
        self._in_hold = not job.last
        self._done += rested  # it was in the inbox
        if job.last:
            following = self._pool.next_for(self)  # before the outcome is known: the next submit may find it idle
        job.mail.post(job)
        return following

    def _do(self, job: Job[Any], *, rested: bool) -> None:
        try:
            if self.broken is not None:
                raise replace(self.broken)
            if not self._in_hold and ((rested and not self._engine.alive()) or (job.blocking and not self.blocks)):
                self._reconnect(blocking=job.blocking)
            result = job.context.run(job.function, *job.args, **job.kwargs)
            if isinstance(result, CoroutineType):
                result.close()
                raise TypeError(f"{job.name} is a coroutine function; a worker thread runs plain functions")
            job.result = result
        except BaseException as raised:  # noqa: BLE001  # the border of the thread: whatever it is goes to the caller
            job.error = self._judged(raised, job)
        if job.last:
            self._reset(job)

    def _reconnect(self, *, blocking: bool) -> None:
        """Connect anew, as the work needs it, or as the server has closed what nobody used: no reason to fail."""
        self._disconnect()
        try:
            self._open(blocking=blocking)
        except Exception as error:
            explained = self._engine.explain(error)
            if isinstance(explained, DatabaseUnavailable):
                self.broken = explained
            self._pool.lost_for_good(explained)
            raise explained from error
        self.born = time.monotonic()
        self.generation = self._pool.generation
        self._pool.connected_anew()

    def _judged(self, error: BaseException, job: Job[Any], line: Line | None = None) -> BaseException:
        """The error as the caller gets it; marks a connection that cannot be used any more."""
        if isinstance(error, DatabaseUnavailable):
            return error
        if isinstance(error, StopIteration):  # a future cannot carry it
            stopped = RuntimeError(f"{job.name} raised StopIteration")
            stopped.__cause__ = error
            return stopped
        if self._engine.timed_out(error):
            ended = QueryTimeout(self._engine.location, job.name, self._engine.statement_limit, by_server=True)
            ended.__cause__ = error
            return ended
        fault = self._engine.fault(error, line)
        if fault is None:
            return error
        self.broken = fault
        self._pool.has_fault(fault)
        told = replace(fault)
        told.__cause__ = error
        return told

    def _reset(self, job: Job[Any]) -> None:
        """Give the connection back as it was; a transaction that is still open is the job's mistake."""
        self.holder = ""
        if self.broken is not None:
            return
        try:
            left_open = self._engine.reset()
        except Exception as error:  # noqa: BLE001  # the border of the thread: a connection that cannot be reset is lost
            told = self._judged(error, job)
            self.broken = self.broken or DatabaseUnavailable.lost(self._engine.location, str(error))
            job.error = job.error or told
            return
        if left_open and job.error is None and not job.future.cancelled():
            job.error = TransactionLeftOpen(job.name)
