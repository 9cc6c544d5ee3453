"""`Session`: one connection for several functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from eggycore_db.jobs import Job

if TYPE_CHECKING:
    from eggycore_db.pool import Pool
    from eggycore_db.workers import Worker

__all__ = ["Session"]

P = ParamSpec("P")
T = TypeVar("T")


class Session:
    """One connection while `async with db.session()` lasts: what a function sets on it, the next one finds.

    A transaction may be left open between two functions; what is open at the end is rolled back.
    """

    def __init__(self, pool: Pool, worker: Worker) -> None:
        self._pool = pool
        self._worker = worker

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function on the connection."""
        job: Job[T] = Job(self._pool.mail, function, args, kwargs)
        job.last = False
        self._worker.give(job)
        return await job.future
