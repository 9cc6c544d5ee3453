"""A pool of connections: worker threads made on demand, behind one queue, that outlives its server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from eggycore_db.closing import until_ended
from eggycore_db.errors import DatabaseClosed, DatabaseUnavailable, Holder, PoolExhausted
from eggycore_db.housekeeping import MOST_CONNECTING, Housekeeping
from eggycore_db.jobs import Hold, Job, Mail
from eggycore_db.outage import Outage
from eggycore_db.pool_limits import PoolLimits
from eggycore_db.workers import Worker

if TYPE_CHECKING:
    from eggycore_db.database import Database
    from eggycore_db.engine import Engine
    from eggycore_db.prepared import Prepared

__all__ = ["Pool", "PoolLimits"]

T = TypeVar("T")

GROW_AFTER = 0.002
"""Seconds that work waits before another connection is made for it: most queries are shorter than connecting."""

LOOK_AGAIN = 0.05
"""Seconds between looks at a queue that more connections do not help."""


class Pool:
    """Workers of one database with the same rights. Made and used in one event loop.

    Work goes to the worker that was idle last, so that those nobody needs grow old and are closed. While the server
    cannot be reached and no connection is left, work is refused at once, and connecting is tried again in the
    background.

    Args:
        name: Of the threads: "reader".
        engine: Makes connections.
        database: For whom the workers work.
        writes: Whether they may write.
        limits: See there.

    Attributes:
        waited: Takes the seconds that work waited for a connection, when it had to.
        changed: Called in the loop when the server can be used no more, and when it can be used again.
    """

    def __init__(
        self,
        name: str,
        *,
        engine: Engine,
        database: Database,
        writes: bool,
        limits: PoolLimits,
    ) -> None:
        self.name = name
        self.engine = engine
        self.database = database
        self.writes = writes
        self.mail = Mail()
        self.generation = 0
        self.waited: Callable[[float], None] | None = None
        self.changed: Callable[[], None] | None = None
        self.connecting = threading.BoundedSemaphore(MOST_CONNECTING)
        # What follows is its own, its outage's, its housekeeping's and its end's.
        self.limits = limits
        self.lock = threading.Lock()
        self.workers: set[Worker] = set()
        self.ending: set[Worker] = set()
        self.idle: list[Worker] = []  # the last one was idle last
        self.queue: deque[Job[Any] | Hold] = deque()
        self.starting = 0
        self.is_closed = False
        self.outage = Outage(self)
        self._sweep: asyncio.TimerHandle | None = None
        self._housekeeping = Housekeeping(self)

    # --- in the event loop

    def submit(
        self,
        function: Callable[..., T],
        args: tuple[Any, ...] = (),
        kwargs: Any = None,
        *,
        prepared: Prepared | None = None,
        blocking: bool = False,
    ) -> asyncio.Future[T]:
        """Queue a unit of work, with the context variables of the caller.

        Cancelling the future before the work has begun drops the work. After that the work goes on to its end, and
        the connection is reset before anyone else gets it.

        Args:
            function: The work.
            args: Its arguments.
            kwargs: Likewise.
            prepared: Does the same as `function`, and may be sent by the event loop.
            blocking: Whether it needs a connection on which the driver itself waits: COPY does.

        Raises:
            DatabaseClosed: `close` was called.
            DatabaseUnavailable: The server cannot be reached now.
        """
        job = Job(self.mail, function, args, kwargs or {})
        job.prepared, job.blocking = prepared, blocking
        if (worker := self._idle_worker_or_queue(job, ahead=False)) is not None:
            worker.begin(job)
        return job.future

    def claim(
        self,
        holder: str,
        function: Callable[..., T],
        args: tuple[Any, ...],
        *,
        prepared: Prepared | None = None,
        blocking: bool = False,
    ) -> Job[T]:
        """Queue the first of several units of work, whose worker is held from then on.

        When its future is cancelled the claim is void.

        Args:
            holder: Who holds it, for whoever waits in vain.
            function: The work.
            args: Its arguments.
            prepared: As in `submit`.
            blocking: Likewise.

        Returns:
            The work; once its future is done, `worker` is whom to give the rest.

        Raises:
            DatabaseClosed, DatabaseUnavailable: As in `submit`.
        """
        job = Job(self.mail, function, args, {})
        job.claims, job.last, job.prepared, job.blocking = holder, False, prepared, blocking
        if (worker := self._idle_worker_or_queue(job, ahead=False)) is not None:
            worker.begin(job)
        return job

    def submit_ahead(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Like `submit`, ahead of everything that waits, and as long as it takes."""
        job = Job(self.mail, function, args, {})
        if (worker := self._idle_worker_or_queue(job, ahead=True)) is not None:
            worker.begin(job)
        return job.future

    async def acquire(self, name: str) -> Worker:
        """A worker for several units of work; end with one whose job is `last`, or with `release`.

        Args:
            name: Who holds it, for whoever waits in vain.

        Raises:
            DatabaseClosed, DatabaseUnavailable: As in `submit`.
            PoolExhausted: None was free in time.
        """
        hold = Hold(self.mail, name)
        if (worker := self._idle_worker_or_queue(hold, ahead=False)) is not None:
            worker.holder, worker.taken = name, time.monotonic()
            return worker
        try:
            return await hold.future
        except asyncio.CancelledError:
            if hold.future.done() and not hold.future.cancelled() and hold.future.exception() is None:
                hold.future.result().release()
            raise

    def _idle_worker_or_queue(self, work: Job[Any] | Hold, *, ahead: bool) -> Worker | None:
        with self.lock:
            if self.is_closed:
                raise DatabaseClosed(self.engine.location)
            if self.idle:
                blocking = isinstance(work, Job) and work.blocking
                return self.idle.pop() if not blocking else self._idle_blocking()
            if self.outage.error is not None:
                raise replace(self.outage.error)
            work.queued = time.monotonic()
            if self.limits.acquire_timeout and not ahead:
                work.deadline = work.queued + self.limits.acquire_timeout
            if ahead:
                self.queue.appendleft(work)
            else:
                self.queue.append(work)
            alone = not self.workers and not self.ending
        if alone and not self.starting:
            self.start_worker()
        if self._sweep is None:
            self._sweep = self.mail.loop.call_later(GROW_AFTER, self.look_at_queue)
        return None

    def _idle_blocking(self) -> Worker:
        """One that has a blocking connection, else any, which makes itself one; under the lock."""
        place = next((place for place, worker in enumerate(self.idle) if worker.blocks), -1)
        return self.idle.pop(place)

    def look_at_queue(self) -> None:
        """Time out what has waited too long, and make another connection for what waits."""
        self._sweep = None
        now = time.monotonic()
        expired: list[Job[Any] | Hold] = []
        with self.lock:
            while self.queue and (self.queue[0].future.cancelled() or 0 < self.queue[0].deadline <= now):
                expired.append(self.queue.popleft())
            waits = len(self.queue)
            size = len(self.workers) + len(self.ending)
        for work in expired:
            work.fail(PoolExhausted(self.engine.location, self.limits.acquire_timeout, size, self._holders()))
        if not waits:
            return
        room = size < self.limits.max_open and self.starting < min(MOST_CONNECTING, waits)
        if room and (now >= self.outage.retry_at or not size):
            self.start_worker()
        helps = size + 1 < self.limits.max_open and self.starting < MOST_CONNECTING
        self._sweep = self.mail.loop.call_later(GROW_AFTER if helps else LOOK_AGAIN, self.look_at_queue)

    def start_worker(self) -> None:
        worker = Worker(self)
        with self.lock:
            self.workers.add(worker)
            self.starting += 1
        try:
            worker.start()
        except RuntimeError as error:  # the system gives no more threads
            with self.lock:
                self.workers.discard(worker)
                self.starting -= 1
            self.outage.not_connected(DatabaseUnavailable.no_thread(self.engine.location, str(error)))

    def open(self) -> None:
        """Begin to keep house."""
        self._housekeeping.open()

    async def close(self) -> None:
        """Take nothing more, finish what is queued, close every connection and join every thread. Idempotent.

        Work whose caller was cancelled is cut after CLOSE_GRACE. A thread that still connects then, for nobody, is left
        to end with the attempt: nothing interrupts a driver that connects. When it is cancelled it cuts every
        connection, and what still runs fails.
        """
        with self.lock:
            self.is_closed = True
            idle, self.idle = self.idle, []
            workers = [*self.workers, *self.ending]
        self._housekeeping.close()
        self.outage.close()
        for worker in workers:
            if worker in idle or worker.holder:
                worker.dismiss()
        try:
            await until_ended(self)
        except asyncio.CancelledError:
            self.cut_everything()
            raise
        finally:
            if self._sweep is not None:
                self._sweep.cancel()
                self._sweep = None
            while self.queue:
                self.queue.popleft().fail(DatabaseClosed(self.engine.location))

    def resize(self, limits: PoolLimits) -> None:
        """Go on with other limits."""
        self.limits = limits

    def try_now(self) -> None:
        """Connect without delay, as the reason why that failed may be gone."""
        self.outage.try_now()

    def renew(self) -> None:
        """Have every connection replaced once nobody uses it."""
        with self.lock:
            self.generation += 1
            idle, self.idle = self.idle, []
            self.dismiss(idle)

    def cut_everything(self) -> None:
        """End every running unit of work with an error, and close its connection."""
        with self.lock:
            workers = (*self.workers, *self.ending)
        for worker in workers:
            if (job := worker.job) is not None:
                worker.cut(job)

    def fail_fast(self, error: DatabaseUnavailable) -> None:
        """Treat the server as gone: cut what runs, refuse what waits, and try to connect in the background."""
        self.renew()
        self.cut_everything()
        self.outage.begin(error)

    # --- how it is

    @property
    def trouble(self) -> DatabaseUnavailable | None:
        """Why the server cannot be reached now; None while it can, or nobody knows otherwise."""
        return self.outage.error

    @property
    def open_connections(self) -> int:
        """Connections that are open or being made."""
        return len(self.workers)

    @property
    def in_use(self) -> int:
        """Connections that run something, or are held."""
        return len(self.workers) - len(self.idle) - self.starting

    @property
    def has_room(self) -> bool:
        """Whether another connection may be made."""
        return len(self.workers) < self.limits.max_open

    @property
    def waiting(self) -> int:
        """Units of work that wait for a connection."""
        return len(self.queue)

    def _holders(self) -> tuple[Holder, ...]:
        now = time.monotonic()
        with self.lock:
            busy = [worker for worker in self.workers if worker not in self.idle]
        held = [Holder(worker.holder, now - worker.taken) for worker in busy if worker.holder]
        jobs = [(worker.job, worker.since) for worker in busy if not worker.holder]
        held += [Holder(job.name, now - since) for job, since in jobs if job is not None]
        return tuple(sorted(held, key=lambda one: -one.seconds))

    # --- in a worker's thread, or in the loop when it has used the worker's connection

    def connected(self, worker: Worker) -> tuple[Job[Any] | None, bool]:
        """It has a connection now: its first work, and whether it goes on."""
        with self.lock:
            self.starting -= 1
        self._tell(self.outage.connected)
        return self.next_for(worker)

    def not_connected(self, worker: Worker, error: BaseException) -> None:
        """It could not connect, and ends."""
        with self.lock:
            self.starting -= 1
            self.workers.discard(worker)
            self.ending.add(worker)
        self._tell(self.outage.not_connected, error)

    def connected_anew(self) -> None:
        """A worker's connection was closed by the server, and it has another one."""
        if self.outage.error is not None:
            self._tell(self.outage.connected)

    def lost_for_good(self, error: BaseException) -> None:
        """A worker's connection was closed by the server, and it could not connect anew."""
        self._tell(self.outage.not_connected, error)

    def has_fault(self, fault: DatabaseUnavailable) -> None:
        """A connection was lost, or showed what may be true for all: a server that takes no writes any more."""
        if fault.trouble == "read-only":
            self._tell(self.renew)  # before the outcome that shows it
        self._tell(self._ask_for_a_check)

    def _ask_for_a_check(self) -> None:
        """A connection that is lost in the middle of its work may be the first sign that the server is gone."""
        if self.changed is not None and not self.is_closed:
            self.changed()

    def next_for(self, worker: Worker) -> tuple[Job[Any] | None, bool]:
        """What waits longest, or nothing yet; and whether the worker goes on at all."""
        now = time.monotonic()
        with self.lock:
            if worker.broken is not None or self.is_old(worker, now) or len(self.workers) > self.limits.max_open:
                self.workers.discard(worker)
                self.ending.add(worker)
                return None, False
            while self.queue:
                work = self.queue.popleft()
                if work.future.cancelled():
                    continue
                if self.waited is not None:
                    self.waited(now - work.queued)
                if isinstance(work, Job):
                    return work, True
                worker.holder, worker.taken, work.worker = work.name, now, worker
                self.mail.post(work)
                return None, True
            if self.is_closed:
                self.workers.discard(worker)
                self.ending.add(worker)
                return None, False
            worker.since = now
            if self.is_odd(worker):
                self.idle.insert(0, worker)  # what the event loop may do goes to the others
            else:
                self.idle.append(worker)
            return None, True

    def is_odd(self, worker: Worker) -> bool:
        """Whether only its thread can use its connection, and the event loop could use others."""
        return worker.blocks and self.engine.prepares

    def is_old(self, worker: Worker, now: float) -> bool:
        if worker.generation != self.generation:
            return True
        lifetime = self.limits.lifetime
        return bool(lifetime) and now - worker.born > lifetime * worker.span

    def gone(self, worker: Worker) -> None:
        """Its thread is about to end."""
        with self.lock:
            self.workers.discard(worker)
            self.ending.add(worker)
        self._tell(self._on_gone, worker)

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self.mail.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # that loop is closed: nobody is left to be told
            return

    # --- told by workers, in the event loop

    def refuse_all(self, error: BaseException) -> None:
        with self.lock:
            waiting, self.queue = self.queue, deque()
        for work in waiting:
            work.fail(replace(error) if isinstance(error, DatabaseUnavailable) else error)

    def _on_gone(self, worker: Worker) -> None:
        """Join it, unless a close() is waiting for it; its place may be needed by what waits."""
        if self.is_closed:
            return
        with self.lock:
            self.ending.discard(worker)
        worker.join()
        if self.queue and self._sweep is None:
            self.look_at_queue()

    def dismiss(self, idle: list[Worker]) -> None:
        """Have workers end that nobody uses; under the lock."""
        for worker in idle:
            self.workers.discard(worker)
            self.ending.add(worker)
            worker.dismiss()
