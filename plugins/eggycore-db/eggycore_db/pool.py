"""A pool of connections: worker threads made on demand, behind one queue, that outlives its server."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from eggycore import log
from eggycore.diagnostics import diagnose
from eggycore_db.errors import DatabaseClosed, DatabaseUnavailable, Holder, PoolExhausted, QueryTimeout
from eggycore_db.jobs import Hold, Job, Mail
from eggycore_db.workers import Worker

if TYPE_CHECKING:
    from eggycore_db.database import Database
    from eggycore_db.engine import Engine
    from eggycore_db.prepared import Prepared

__all__ = ["Pool", "PoolLimits"]

T = TypeVar("T")

MOST_CONNECTING = 2
"""Connections that are made at the same time, so that a server that comes back is not run over."""

GROW_AFTER = 0.002
"""Seconds that work waits before another connection is made for it: most queries are shorter than connecting."""

LOOK_AGAIN = 0.05
"""Seconds between looks at a queue that more connections do not help."""

BACKOFF, BACKOFF_MAX = 0.2, 5.0
"""Seconds: bounds of the delay, doubled each time with full jitter, after a connection could not be made."""

KEEP_BLOCKING = 5.0
"""Seconds without use after which a connection on which the driver waits makes place for one of the event loop's."""

CLOSE_GRACE = 0.5
"""Seconds that close() gives what nobody waits for: connecting, and work whose caller was cancelled."""

SAY_AFTER = 3
"""Failures in a row before a warning that no connection can be added to those that are open."""

SAY_EVERY = 60.0
"""Seconds between such warnings."""


@dataclass(frozen=True, kw_only=True)
class PoolLimits:
    """How many connections, and how long anything may take. Times are in seconds; 0 means no limit.

    Args:
        max_open: The most connections.
        max_idle: The most connections kept while nothing uses them, as seen at every `idle_check`.
        min_open: The least connections, once open.
        lifetime: Age at which a connection is replaced, up to a tenth sooner.
        idle_time: Time without use after which a connection is closed.
        idle_check: Time between looks at idle connections.
        acquire_timeout: How long work waits for a connection.
        query_timeout: How long one unit of work may take; its connection is cut then.
    """

    max_open: int = 100
    max_idle: int = 10
    min_open: int = 0
    lifetime: float = 0.0
    idle_time: float = 0.0
    idle_check: float = 30.0
    acquire_timeout: float = 10.0
    query_timeout: float = 0.0


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
        self._limits = limits
        self._lock = threading.Lock()
        self._workers: set[Worker] = set()
        self._ending: set[Worker] = set()
        self._idle: list[Worker] = []  # the last one was idle last
        self._waiting: deque[Job[Any] | Hold] = deque()
        self._starting = 0
        self._closed = False
        self._down: DatabaseUnavailable | None = None
        self._down_since = 0.0
        self._was_up = False  # before that, who opens it says why it cannot be used
        self._said_at = -SAY_EVERY
        self._failures = 0
        self._retry_at = 0.0
        self._sweep: asyncio.TimerHandle | None = None
        self._housekeeping: asyncio.TimerHandle | None = None
        self._retry: asyncio.Handle | None = None

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
        with self._lock:
            if self._closed:
                raise DatabaseClosed(self.engine.location)
            if self._idle:
                blocking = isinstance(work, Job) and work.blocking
                return self._idle.pop() if not blocking else self._idle_blocking()
            if self._down is not None:
                raise replace(self._down)
            work.queued = time.monotonic()
            if self._limits.acquire_timeout and not ahead:
                work.deadline = work.queued + self._limits.acquire_timeout
            if ahead:
                self._waiting.appendleft(work)
            else:
                self._waiting.append(work)
            alone = not self._workers and not self._ending
        if alone and not self._starting:
            self._start_worker()
        if self._sweep is None:
            self._sweep = self.mail.loop.call_later(GROW_AFTER, self._look_at_queue)
        return None

    def _idle_blocking(self) -> Worker:
        """One that has a blocking connection, else any, which makes itself one; under the lock."""
        place = next((place for place, worker in enumerate(self._idle) if worker.blocks), -1)
        return self._idle.pop(place)

    def _look_at_queue(self) -> None:
        """Time out what has waited too long, and make another connection for what waits."""
        self._sweep = None
        now = time.monotonic()
        expired: list[Job[Any] | Hold] = []
        with self._lock:
            while self._waiting and (self._waiting[0].future.cancelled() or 0 < self._waiting[0].deadline <= now):
                expired.append(self._waiting.popleft())
            waits = len(self._waiting)
            size = len(self._workers) + len(self._ending)
        for work in expired:
            work.fail(PoolExhausted(self.engine.location, self._limits.acquire_timeout, size, self._holders()))
        if not waits:
            return
        room = size < self._limits.max_open and self._starting < min(MOST_CONNECTING, waits)
        if room and (now >= self._retry_at or not size):
            self._start_worker()
        helps = size + 1 < self._limits.max_open and self._starting < MOST_CONNECTING
        self._sweep = self.mail.loop.call_later(GROW_AFTER if helps else LOOK_AGAIN, self._look_at_queue)

    def _start_worker(self) -> None:
        worker = Worker(self)
        with self._lock:
            self._workers.add(worker)
            self._starting += 1
        try:
            worker.start()
        except RuntimeError as error:  # the system gives no more threads
            with self._lock:
                self._workers.discard(worker)
                self._starting -= 1
            self._on_not_connected(DatabaseUnavailable.no_thread(self.engine.location, str(error)))

    def open(self) -> None:
        """Begin to keep house."""
        self._housekeeping = self.mail.loop.call_later(self._house_interval(), self._keep_house)

    async def close(self) -> None:
        """Take nothing more, finish what is queued, close every connection and join every thread. Idempotent.

        Work whose caller was cancelled is cut after CLOSE_GRACE. A thread that still connects then, for nobody, is left
        to end with the attempt: nothing interrupts a driver that connects. When it is cancelled it cuts every
        connection, and what still runs fails.
        """
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            workers = [*self._workers, *self._ending]
        for timer in (self._housekeeping, self._retry):
            if timer is not None:
                timer.cancel()
        for worker in workers:
            if worker in idle or worker.holder:
                worker.dismiss()
        try:
            began = time.monotonic()
            while ends := self._ends_awaited(began):
                try:
                    await asyncio.wait(ends, timeout=CLOSE_GRACE)
                finally:
                    for end in ends:
                        end.cancel()  # the wait for it: a worker's end itself cannot be cancelled
        except asyncio.CancelledError:
            self.cut_everything()
            raise
        finally:
            if self._sweep is not None:
                self._sweep.cancel()
                self._sweep = None
            while self._waiting:
                self._waiting.popleft().fail(DatabaseClosed(self.engine.location))

    def _ends_awaited(self, began: float) -> list[asyncio.Future[None]]:
        """The ends of workers that are to be waited for; those that have ended are joined."""
        with self._lock:
            workers = [*self._workers, *self._ending]
            wanted = any(not work.future.cancelled() for work in self._waiting)
        ended = [worker for worker in workers if worker.ended.done()]
        for worker in ended:
            worker.join()
        with self._lock:
            self._ending.difference_update(ended)
        left = [worker for worker in workers if worker not in ended]
        if time.monotonic() - began >= CLOSE_GRACE:
            self.cut_abandoned()
            left = [worker for worker in left if wanted or worker.is_wanted or not worker.connects]
        return [asyncio.wrap_future(worker.ended) for worker in left]

    def cut_abandoned(self) -> None:
        """Cut work whose caller was cancelled, and say so."""
        with self._lock:
            workers = (*self._workers, *self._ending)
        for worker in workers:
            job, since = worker.job, worker.since
            if job is not None and job.future.cancelled() and worker.cut(job):
                seconds = round(time.monotonic() - since, 3)
                log.warn(
                    "cut while closing: its caller has left",
                    location=self.engine.location,
                    work=job.name,
                    seconds=seconds,
                )

    def resize(self, limits: PoolLimits) -> None:
        """Go on with other limits."""
        self._limits = limits

    def try_now(self) -> None:
        """Connect without delay, as the reason why that failed may be gone."""
        self._failures, self._retry_at = 0, 0.0
        if self._retry is not None:
            self._retry.cancel()
            self._retry = self.mail.loop.call_soon(self._try_again)

    def renew(self) -> None:
        """Have every connection replaced once nobody uses it."""
        with self._lock:
            self.generation += 1
            idle, self._idle = self._idle, []
            self._dismiss(idle)

    def cut_everything(self) -> None:
        """End every running unit of work with an error, and close its connection."""
        with self._lock:
            workers = (*self._workers, *self._ending)
        for worker in workers:
            if (job := worker.job) is not None:
                worker.cut(job)

    def fail_fast(self, error: DatabaseUnavailable) -> None:
        """Treat the server as gone: cut what runs, refuse what waits, and try to connect in the background."""
        self.renew()
        self.cut_everything()
        self._go_down(error)

    # --- how it is

    @property
    def trouble(self) -> DatabaseUnavailable | None:
        """Why the server cannot be reached now; None while it can, or nobody knows otherwise."""
        return self._down

    @property
    def open_connections(self) -> int:
        """Connections that are open or being made."""
        return len(self._workers)

    @property
    def in_use(self) -> int:
        """Connections that run something, or are held."""
        return len(self._workers) - len(self._idle) - self._starting

    @property
    def has_room(self) -> bool:
        """Whether another connection may be made."""
        return len(self._workers) < self._limits.max_open

    @property
    def waiting(self) -> int:
        """Units of work that wait for a connection."""
        return len(self._waiting)

    def _holders(self) -> tuple[Holder, ...]:
        now = time.monotonic()
        with self._lock:
            busy = [worker for worker in self._workers if worker not in self._idle]
        held = [Holder(worker.holder, now - worker.taken) for worker in busy if worker.holder]
        jobs = [(worker.job, worker.since) for worker in busy if not worker.holder]
        held += [Holder(job.name, now - since) for job, since in jobs if job is not None]
        return tuple(sorted(held, key=lambda one: -one.seconds))

    # --- in a worker's thread, or in the loop when it has used the worker's connection

    def connected(self, worker: Worker) -> tuple[Job[Any] | None, bool]:
        """It has a connection now: its first work, and whether it goes on."""
        with self._lock:
            self._starting -= 1
        self._tell(self._on_connected)
        return self.next_for(worker)

    def not_connected(self, worker: Worker, error: BaseException) -> None:
        """It could not connect, and ends."""
        with self._lock:
            self._starting -= 1
            self._workers.discard(worker)
            self._ending.add(worker)
        self._tell(self._on_not_connected, error)

    def connected_anew(self) -> None:
        """A worker's connection was closed by the server, and it has another one."""
        if self._down is not None:
            self._tell(self._on_connected)

    def lost_for_good(self, error: BaseException) -> None:
        """A worker's connection was closed by the server, and it could not connect anew."""
        self._tell(self._on_not_connected, error)

    def has_fault(self, fault: DatabaseUnavailable) -> None:
        """A connection showed what may be true for all: a server that takes no writes any more."""
        if fault.trouble == "read-only":
            self._tell(self.renew)  # before the outcome that shows it

    def next_for(self, worker: Worker) -> tuple[Job[Any] | None, bool]:
        """What waits longest, or nothing yet; and whether the worker goes on at all."""
        now = time.monotonic()
        with self._lock:
            if worker.broken is not None or self._is_old(worker, now) or len(self._workers) > self._limits.max_open:
                self._workers.discard(worker)
                self._ending.add(worker)
                return None, False
            while self._waiting:
                work = self._waiting.popleft()
                if work.future.cancelled():
                    continue
                if self.waited is not None:
                    self.waited(now - work.queued)
                if isinstance(work, Job):
                    return work, True
                worker.holder, worker.taken, work.worker = work.name, now, worker
                self.mail.post(work)
                return None, True
            if self._closed:
                self._workers.discard(worker)
                self._ending.add(worker)
                return None, False
            worker.since = now
            if self._is_odd(worker):
                self._idle.insert(0, worker)  # what the event loop may do goes to the others
            else:
                self._idle.append(worker)
            return None, True

    def _is_odd(self, worker: Worker) -> bool:
        """Whether only its thread can use its connection, and the event loop could use others."""
        return worker.blocks and self.engine.prepares

    def _is_old(self, worker: Worker, now: float) -> bool:
        if worker.generation != self.generation:
            return True
        lifetime = self._limits.lifetime
        return bool(lifetime) and now - worker.born > lifetime * worker.span

    def gone(self, worker: Worker) -> None:
        """Its thread is about to end."""
        with self._lock:
            self._workers.discard(worker)
            self._ending.add(worker)
        self._tell(self._on_gone, worker)

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self.mail.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # that loop is closed: nobody is left to be told
            return

    # --- told by workers, in the event loop

    def _on_connected(self) -> None:
        self._failures = 0
        self._retry_at = 0.0
        if self._down is not None and self._was_up and not self._closed:
            seconds = round(time.monotonic() - self._down_since, 3)
            log.info("the database can be used again", location=self.engine.location, seconds=seconds)
        was_down, self._down = self._down is not None, None
        self._was_up = True
        if was_down and self.changed is not None:
            self.changed()

    def _on_not_connected(self, error: BaseException) -> None:
        if self._closed:
            return
        self._failures += 1
        delay = random.uniform(0, min(BACKOFF_MAX, BACKOFF * 2 ** min(self._failures, 10)))  # jitter
        self._retry_at = time.monotonic() + delay
        with self._lock:
            alive = sum(worker.broken is None for worker in self._workers) - self._starting
        if alive > 0 and self._down is None:
            self._say_no_more(error)
            return
        if isinstance(error, DatabaseUnavailable):
            self._go_down(error)
        else:
            self._refuse_all(error)

    def _say_no_more(self, error: BaseException) -> None:
        now = time.monotonic()
        if self._failures >= SAY_AFTER and now - self._said_at >= SAY_EVERY:
            self._said_at = now
            reason = diagnose(error).cause or type(error).__name__
            log.warn("no more connections to the database, those that are open go on", reason=reason)

    def _go_down(self, error: DatabaseUnavailable) -> None:
        was_up, self._down = self._down is None, error
        if was_up:
            self._down_since = time.monotonic()
            if self._was_up and not self._closed:
                location, reason = self.engine.location, diagnose(error).cause
                log.warn("the database cannot be used, work is refused", location=location, reason=reason)
        if was_up and self.changed is not None:
            self.changed()
        self._refuse_all(error)
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self.mail.loop.call_later(max(0.0, self._retry_at - time.monotonic()), self._try_again)

    def _refuse_all(self, error: BaseException) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
        for work in waiting:
            work.fail(replace(error) if isinstance(error, DatabaseUnavailable) else error)

    def _try_again(self) -> None:
        self._retry = None
        if self._down is not None and not self._closed and not self._starting:
            self._start_worker()

    def _on_gone(self, worker: Worker) -> None:
        """Join it, unless a close() is waiting for it; its place may be needed by what waits."""
        if self._closed:
            return
        with self._lock:
            self._ending.discard(worker)
        worker.join()
        if self._waiting and self._sweep is None:
            self._look_at_queue()

    # --- housekeeping

    def _house_interval(self) -> float:
        limits = self._limits
        return min(1.0, limits.idle_check, limits.query_timeout / 4 or 1.0)

    def _keep_house(self) -> None:
        self._housekeeping = self.mail.loop.call_later(self._house_interval(), self._keep_house)
        self._cut_overdue()
        self._close_idle()
        if not self._down and time.monotonic() >= self._retry_at:
            for _ in range(min(self._limits.min_open - len(self._workers), MOST_CONNECTING - self._starting)):
                self._start_worker()

    def _cut_overdue(self) -> None:
        timeout, now = self._limits.query_timeout, time.monotonic()
        if not timeout:
            return
        with self._lock:
            workers = tuple(self._workers)
        for worker in workers:
            job = worker.job
            if job is not None and now - worker.since > timeout and worker.cut(job):
                job.fail(QueryTimeout(self.engine.location, job.name, timeout))

    def _close_idle(self) -> None:
        limits, now = self._limits, time.monotonic()
        with self._lock:
            spare, most = len(self._workers) - limits.min_open, limits.max_open - limits.min_open
            leaving: list[Worker] = []
            for place, worker in enumerate(self._idle):
                rest = now - worker.since
                idle = len(self._idle) - place
                if rest >= KEEP_BLOCKING and self._is_odd(worker):
                    leaving.append(worker)
                    continue
                beyond = (idle > limits.max_idle and rest >= limits.idle_check) or spare - len(leaving) > most
                if len(leaving) < spare and (beyond or self._is_old(worker, now) or 0 < limits.idle_time <= rest):
                    leaving.append(worker)
            self._idle = [worker for worker in self._idle if worker not in leaving]
            self._dismiss(leaving)

    def _dismiss(self, idle: list[Worker]) -> None:
        """Have workers end that nobody uses; under the lock."""
        for worker in idle:
            self._workers.discard(worker)
            self._ending.add(worker)
            worker.dismiss()
