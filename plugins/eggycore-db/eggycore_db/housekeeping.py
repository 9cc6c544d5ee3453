"""What a pool looks at again and again: work that takes too long, and connections that nobody needs, or too few."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from eggycore_db.errors import QueryTimeout

if TYPE_CHECKING:
    from eggycore_db.pool import Pool
    from eggycore_db.workers import Worker

__all__ = ["MOST_CONNECTING", "Housekeeping"]

MOST_CONNECTING = 2
"""Connections that are made at the same time, so that a server that comes back is not run over."""

KEEP_BLOCKING = 5.0
"""Seconds without use after which a connection on which the driver waits makes place for one of the event loop's."""


class Housekeeping:
    """That of one pool, in its event loop."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Look once the time has come."""
        self._timer = self._pool.mail.loop.call_later(self._interval(), self._keep)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _interval(self) -> float:
        limits = self._pool.limits
        return min(1.0, limits.idle_check, limits.query_timeout / 4 or 1.0)

    def _keep(self) -> None:
        self.open()
        self._cut_overdue()
        self._close_idle()
        pool = self._pool
        if not pool.outage.error and time.monotonic() >= pool.outage.retry_at:
            for _ in range(min(pool.limits.min_open - len(pool.workers), MOST_CONNECTING - pool.starting)):
                pool.start_worker()

    def _cut_overdue(self) -> None:
        timeout, now = self._pool.limits.query_timeout, time.monotonic()
        if not timeout:
            return
        with self._pool.lock:
            workers = tuple(self._pool.workers)
        for worker in workers:
            job = worker.job
            if job is not None and now - worker.since > timeout and worker.cut(job):
                job.fail(QueryTimeout(self._pool.engine.location, job.name, timeout))

    def _close_idle(self) -> None:
        limits, now = self._pool.limits, time.monotonic()
        with self._pool.lock:
            spare, most = len(self._pool.workers) - limits.min_open, limits.max_open - limits.min_open
            leaving: list[Worker] = []
            for place, worker in enumerate(self._pool.idle):
                rest = now - worker.since
                idle = len(self._pool.idle) - place
                if rest >= KEEP_BLOCKING and self._pool.is_odd(worker):
                    leaving.append(worker)
                    continue
                beyond = (idle > limits.max_idle and rest >= limits.idle_check) or spare - len(leaving) > most
                if len(leaving) < spare and (beyond or self._pool.is_old(worker, now) or 0 < limits.idle_time <= rest):
                    leaving.append(worker)
            self._pool.idle = [worker for worker in self._pool.idle if worker not in leaving]
            self._pool.dismiss(leaving)
