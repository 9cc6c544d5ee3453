"""Worker threads: each owns one connection and takes units of work from its lane's queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from types import CoroutineType
from typing import TYPE_CHECKING, Generic, ParamSpec, Protocol, TypeVar

from eggycore_db.errors import DatabaseClosed, TransactionLeftOpen

if TYPE_CHECKING:
    from eggycore_db.instruments import Instruments

__all__ = ["Connection", "Lane"]

P = ParamSpec("P")
T = TypeVar("T")


class Connection(Protocol):
    """The connection of the worker thread that calls."""

    def open(self) -> None:
        """Connect. Called in the thread before its first unit of work, and again after a failure."""

    def reset(self) -> bool:
        """Roll back whatever transaction was left open; whether there was one."""

    def close(self) -> None:
        """Disconnect. Called in the thread before it ends."""


class _Job(Generic[T]):
    """One unit of work, who waits for it, and what came of it."""

    __slots__ = ("context", "error", "function", "future", "loop", "name", "result")

    def __init__(self, function: Callable[[], T], name: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.context = copy_context()
        self.function = function
        self.name = name
        self.result: T | None = None
        self.error: BaseException | None = None

    def deliver(self) -> None:
        """Hand the outcome to the loop that waits, from the worker's thread."""
        with suppress(RuntimeError):  # that loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # without an error it is a T


class Lane:
    """Up to `size` worker threads behind one queue.

    Threads start on demand and end when more than `idle` of them have nothing to do. `submit` and `close` are
    called in an event loop.

    Args:
        name: Name of the threads.
        size: The most threads, which is the most connections.
        idle: The most threads that are kept while they have nothing to do.
        connection: What each thread opens, resets after every unit of work, and closes.
        location: The database, for messages.
        instruments: Where connections and waiting work are counted.
    """

    def __init__(
        self,
        name: str,
        *,
        size: int,
        idle: int,
        connection: Connection,
        location: str,
        instruments: Instruments | None = None,
    ) -> None:
        self._name = name
        self._size = size
        self._keep_idle = idle
        self._connection = connection
        self._location = location
        self._instruments = instruments
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._ended: dict[threading.Thread, ThreadFuture[None]] = {}
        self._threads = 0
        self._idle = 0
        self._waiting = 0
        self._closed = False

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Queue a unit of work, with the context variables of the caller.

        Cancelling the future before the work has begun drops the work. After that the work goes on to its end, and
        the connection is reset before anyone else gets it.

        Raises:
            DatabaseClosed: `close` was called.
            RuntimeError: A thread is needed, and the system gives none.
        """
        job = _Job(partial(function, *args, **kwargs), _name_of(function))
        with self._lock:
            if self._closed:
                raise DatabaseClosed(self._location)
            if self._waiting >= self._idle and self._threads < self._size:
                self._start_worker()
            self._waiting += 1
            self._jobs.put(job)  # type: ignore[arg-type]  # the queue does not look at the result's type
        if self._instruments:
            self._instruments.waiting.inc()
        return job.future

    async def close(self) -> None:
        """Take nothing more, finish what is queued, close every connection and join every thread. Idempotent."""
        with self._lock:
            ended = dict(self._ended)
            if not self._closed:
                self._closed = True
                for _ in range(self._threads):
                    self._jobs.put(None)
        await asyncio.gather(*map(asyncio.wrap_future, ended.values()))
        for thread in ended:
            thread.join()

    def _start_worker(self) -> None:
        ended: ThreadFuture[None] = ThreadFuture()
        ended.set_running_or_notify_cancel()  # from here on a cancelled close() cannot cancel it
        thread = threading.Thread(target=self._work, args=(ended,), name=self._name, daemon=True)
        thread.start()  # first: one that the system refuses is not counted; it has no work before it is
        self._ended[thread] = ended
        self._threads += 1
        self._idle += 1

    def _work(self, ended: ThreadFuture[None]) -> None:
        """The life of a worker thread. It is a daemon: a process that forgot to close is not kept alive by it."""
        connected = False
        while (job := self._next()) is not None:
            connected = self._do(job, connected)
            stays = self._stays()  # before the outcome is known, so that the next submit finds this thread idle
            job.deliver()
            del job
            if not stays:
                break
        if connected:
            self._connection.close()
            if self._instruments:
                self._instruments.open.dec()
        with self._lock:
            del self._ended[threading.current_thread()]
        ended.set_result(None)

    def _next(self) -> _Job[object] | None:
        job = self._jobs.get()
        with self._lock:
            self._idle -= 1
            if job is not None:
                self._waiting -= 1
        if job is not None and self._instruments:
            self._instruments.waiting.dec()
        return job

    def _stays(self) -> bool:
        with self._lock:
            if self._idle >= self._keep_idle and self._waiting <= self._idle and not self._closed:
                self._threads -= 1
                return False
            self._idle += 1
            return True

    def _do(self, job: _Job[object], connected: bool) -> bool:
        """Run one unit of work; whether the thread has a connection afterwards."""
        if job.future.cancelled():
            return connected
        try:
            if not connected:
                self._connect()
                connected = True
            job.result = self._run(job)
        except StopIteration as stop:  # a future cannot carry it
            job.error = RuntimeError(f"{job.name} raised StopIteration")
            job.error.__cause__ = stop
        except BaseException as raised:  # noqa: BLE001  # the border of the thread: whatever it is goes to the caller
            job.error = raised
        return connected

    def _connect(self) -> None:
        self._connection.open()
        if self._instruments:
            self._instruments.open.inc()

    def _run(self, job: _Job[object]) -> object:
        if self._instruments:
            self._instruments.in_use.inc()
        try:
            result = job.context.run(job.function)
        except BaseException:
            self._connection.reset()
            raise
        finally:
            if self._instruments:
                self._instruments.in_use.dec()
        if self._connection.reset():
            raise TransactionLeftOpen(job.name)
        if isinstance(result, CoroutineType):
            result.close()
            raise TypeError(f"{job.name} is a coroutine function; a worker thread runs plain functions")
        return result


def _name_of(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__name__
