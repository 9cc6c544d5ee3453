"""Whether a database can be used now: the health check, and what it does about a server that has fallen silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from eggycore.diagnostics import diagnose
from eggycore.errors import CheckFailed, Degraded
from eggycore_db.errors import DatabaseClosed, DatabaseUnavailable, PoolExhausted
from eggycore_db.pool import Pool, PoolLimits

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["Liveness"]

ANSWER_WITHIN = 1.5
"""Seconds that a server may take to say whether it takes writes; less than the health check's timeout."""

_GONE = frozenset(("lost", "refused", "timeout", "unknown host"))
"""What says, of a server that does not answer on a connection it has, that it is not there any more."""


class Liveness:
    """The check of one database.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._probe: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """See `Database.check`."""
        database = self._database
        if not database.is_open:
            raise DatabaseClosed(database.location)
        if database.kind == "sqlite":
            await asyncio.to_thread(database.engine.look)
            await database.read(database.engine.writable)
        else:
            await self._check(database.pools[0])

    async def close(self) -> None:
        """End what goes on in the background."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait({self._probe})

    async def _check(self, pool: Pool, *, once_more: bool = True) -> None:
        if pool.trouble is not None:
            raise _failed(pool.trouble)
        asked = asyncio.ensure_future(self._ask(pool))
        done, _ = await asyncio.wait({asked}, timeout=ANSWER_WITHIN)
        if not done:
            asked.cancel()
            await asyncio.wait({asked})
            self._suspect(pool)
            if pool.waiting and not pool.has_room:
                raise Degraded("every connection is busy")
            raise CheckFailed(f"no answer within {ANSWER_WITHIN:g} s")
        try:
            writable = asked.result()
        except DatabaseUnavailable as error:
            if error.trouble == "lost" and once_more:  # one connection was; a new one tells how the server is
                await self._check(pool, once_more=False)
                return
            raise _failed(error) from None  # its reason says all: no traceback for a server that is away
        except PoolExhausted:
            raise Degraded("every connection is busy") from None
        if self._database.writes and not writable:
            pool.renew()
            raise CheckFailed("the server takes no writes", certain=True)

    async def _ask(self, pool: Pool) -> bool:
        return await pool.submit_ahead(self._database.engine.writable)

    def _suspect(self, pool: Pool) -> None:
        """Find out, with a connection of its own, whether the server is slow or gone; once at a time."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._connect_anew(pool), name="eggycore-db probe")

    async def _connect_anew(self, pool: Pool) -> None:
        probe = Pool(
            "probe",
            engine=self._database.engine,
            database=self._database,
            writes=False,
            limits=PoolLimits(max_open=1, acquire_timeout=0),
        )
        try:
            await probe.submit(self._database.engine.prove)
        except DatabaseUnavailable as error:
            if error.trouble in _GONE:  # and not if it is full, or has another password now: those it has it serves
                pool.fail_fast(error)
        finally:
            await probe.close()


def _failed(error: DatabaseUnavailable) -> CheckFailed:
    certain = error.trouble in ("refused", "read-only", "timeout")
    cause = diagnose(error).cause.removeprefix(f"{error.location}: ")
    return CheckFailed(cause.rstrip("."), certain=certain)
