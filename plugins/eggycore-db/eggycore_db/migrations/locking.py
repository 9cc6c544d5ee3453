"""Holding the migrations' lock from asyncio: waiting for it, and saying who holds it while others wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import peewee

from eggycore import log
from eggycore.errors import EggycoreError
from eggycore_db.closing import cut_abandoned
from eggycore_db.lock import Holder, Lock, lift_timeouts, lock_of
from eggycore_db.pool import Pool, PoolLimits
from eggycore_db.session import Session
from eggycore_db.targets import MEMORY

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["Waiting", "locked"]

POLL = 0.2
"""Seconds between attempts to take the lock."""

SAY_EVERY = 10.0
"""Seconds between lines that say who is waited for."""

BEAT_EVERY = 5.0
"""Seconds between signs of life of the holder."""

Waiting = Callable[[Holder | None, float], object]
"""Told at once and then every 10 s: who holds the lock, None when that is not known, and seconds waited so far."""


def log_waiting(holder: Holder | None, seconds: float) -> None:
    """Say in the log who is waited for."""
    log.info(
        "waiting for another process that changes the tables", holder=str(holder or "unknown"), seconds=round(seconds)
    )


@asynccontextmanager
async def locked(db: Database, waiting: Waiting = log_waiting) -> AsyncIterator[Session]:
    """Hold the lock for the block; waits as long as it takes, and can be cancelled while it waits.

    Yields:
        The session whose connection holds it: whoever changes tables does it there, as long as that takes.
    """
    async with _unlimited(db) as (session, other):
        lock = lock_of(db.peewee)
        await _acquire(session, db.peewee, lock, waiting)
        beating = asyncio.create_task(_beat(db.peewee, lock, other), name="eggycore migrations heartbeat")
        try:
            await session.run(lift_timeouts, db.peewee)
            yield session
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating
            with suppress(peewee.PeeweeException, EggycoreError):  # a connection that is gone holds no lock any more
                await session.run(lock.release, db.peewee)


@asynccontextmanager
async def _unlimited(db: Database) -> AsyncIterator[tuple[Session, Pool | None]]:
    """A session, and a pool with a connection beside it, that are not cut after the query timeout of the app's.

    A database in memory is its one connection: there the session is one of the app's, and there is no pool.
    """
    if db.location == MEMORY:
        async with db.session() as session:
            yield session, None
        return
    limits = PoolLimits(max_open=2, acquire_timeout=0)
    pool = Pool("migrations", engine=db.engine, database=db, writes=True, limits=limits)
    pool.open()
    try:
        worker = await pool.acquire("migrations")
        try:
            yield Session(pool, worker), pool
        except asyncio.CancelledError:
            cut_abandoned(pool)  # the time to wait for a migration is over: `locked` has waited already
            raise
        finally:
            worker.release()
    finally:
        await pool.close()


async def _acquire(session: Session, db: peewee.Database, lock: Lock, waiting: Waiting) -> None:
    began = said = 0.0
    while not await session.run(lock.acquire, db):
        now = time.monotonic()
        began = began or now
        if not said or now - said >= SAY_EVERY:
            waiting(await session.run(lock.holder, db), now - began)
            said = now
        await asyncio.sleep(POLL)


async def _beat(db: peewee.Database, lock: Lock, pool: Pool | None) -> None:
    """Say again and again that this process lives, on a connection of its own."""
    while True:
        await asyncio.sleep(BEAT_EVERY)
        if pool is None or isinstance(db, peewee.SqliteDatabase):
            lock.beat(db)  # touches a file, if anything
            continue
        with suppress(peewee.PeeweeException, EggycoreError):  # no connection now: it informs only
            await pool.submit(lock.beat, (db,))
