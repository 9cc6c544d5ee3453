"""The end of a pool: what is waited for, and what is cut."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from eggycore import log

if TYPE_CHECKING:
    from eggycore_db.pool import Pool

__all__ = ["cut_abandoned", "until_ended"]

CLOSE_GRACE = 0.5
"""Seconds that closing gives what nobody waits for: connecting, and work whose caller was cancelled."""


async def until_ended(pool: Pool) -> None:
    """Wait until every worker of a pool that is closed has ended, but for those that connect for nobody."""
    began = time.monotonic()
    while ends := _ends_awaited(pool, began):
        try:
            await asyncio.wait(ends, timeout=CLOSE_GRACE)
        finally:
            for end in ends:
                end.cancel()  # the wait for it: a worker's end itself cannot be cancelled


def _ends_awaited(pool: Pool, began: float) -> list[asyncio.Future[None]]:
    """The ends of workers that are to be waited for; those that have ended are joined."""
    with pool.lock:
        workers = [*pool.workers, *pool.ending]
        wanted = any(not work.future.cancelled() for work in pool.queue)
    ended = [worker for worker in workers if worker.ended.done()]
    for worker in ended:
        worker.join()
    with pool.lock:
        pool.ending.difference_update(ended)
    left = [worker for worker in workers if worker not in ended]
    if time.monotonic() - began >= CLOSE_GRACE:
        cut_abandoned(pool)
        left = [worker for worker in left if wanted or worker.is_wanted or not worker.connects]
    return [asyncio.wrap_future(worker.ended) for worker in left]


def cut_abandoned(pool: Pool) -> None:
    """Cut work whose caller was cancelled, and say so."""
    with pool.lock:
        workers = (*pool.workers, *pool.ending)
    for worker in workers:
        job, since = worker.job, worker.since
        if job is not None and job.future.cancelled() and worker.cut(job):
            seconds = round(time.monotonic() - since, 3)
            log.warn(
                "cut while closing: its caller has left",
                location=pool.engine.location,
                work=job.name,
                seconds=seconds,
            )
