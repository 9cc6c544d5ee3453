"""`db.reader`: the short forms that read, from replicas where there are any."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import eggycore_db.drivers  # noqa: F401  # before peewee is imported

import peewee  # isort: skip

from eggycore import log
from eggycore.diagnostics import diagnose
from eggycore.errors import CheckFailed, Degraded, EggycoreError, Unavailable
from eggycore_db.errors import DatabaseClosed, DatabaseUnavailable, PoolExhausted
from eggycore_db.reads import Reads
from eggycore_db.replication import lag_of
from eggycore_db.statements import Statements

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["Reader"]

P = ParamSpec("P")
T = TypeVar("T")

MOST_LAG = 30.0
"""Seconds behind the primary from which on the check of the replicas shows degraded."""

TRY_AGAIN, TRY_AGAIN_MAX = 0.5, 10.0
"""Seconds: bounds of the delay, doubled each time, between attempts to open a replica that could not be reached."""


class Reader(Reads):
    """Reads that may lag behind what was written: from the replicas in turn, or from the primary while none answers.

    Args:
        primary: Answers while no replica does.
        replicas: Databases that take no writes, not open yet.
    """

    def __init__(self, primary: Database, replicas: tuple[Database, ...]) -> None:
        self._primary = primary
        self._replicas = replicas
        self.statements = Statements()
        self._turn = count()
        self._opening: asyncio.Task[None] | None = None

    @property
    def replicas(self) -> tuple[Database, ...]:
        """The replicas, whether they can be reached or not."""
        return self._replicas

    async def open(self) -> None:
        """Open the replicas; one that cannot be reached is tried again in the background."""
        if self._replicas:
            self._opening = asyncio.create_task(self._open_all(), name="eggycore-db replicas")

    async def close(self) -> None:
        """Close the replicas."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
            self._opening = None
        await asyncio.gather(*(replica.close() for replica in self._replicas))

    async def read(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function that only reads, on a replica; see `Database.read`."""
        for replica in self._usable():
            try:
                return await replica.read(function, *args, **kwargs)
            except (DatabaseUnavailable, PoolExhausted, peewee.OperationalError) as error:
                _go_on_without(replica, error)
        return await self._primary.read(function, *args, **kwargs)

    async def _query(self, function: Callable[..., T], *args: Any) -> T:
        for replica in self._usable():
            try:
                return await replica.read(function, replica.peewee, *args)
            except (DatabaseUnavailable, PoolExhausted, peewee.OperationalError) as error:
                _go_on_without(replica, error)
        return await self._primary.read(function, self._primary.peewee, *args)

    async def iterate(self, query: Any) -> AsyncIterator[Any]:
        """Every row, one after another, from one database; see `Database.iterate`."""
        database = next(iter(self._usable()), self._primary)
        async for row in database.iterate(query):
            yield row

    async def lags(self) -> dict[str, float | None]:
        """Seconds that each replica is behind, by location; None for one that does not answer."""
        found = await asyncio.gather(*map(_lag, self._replicas))
        return dict(zip((replica.location for replica in self._replicas), found, strict=True))

    async def check(self) -> None:
        """Ask every replica how far it lags behind.

        Raises:
            Degraded: One does not answer, does not replicate, or is more than 30 s behind.
        """
        lags = await self.lags()
        silent = [location for location, lag in lags.items() if lag is None]
        late = [f"{location} is {lag:.0f} s behind" for location, lag in lags.items() if lag and lag > MOST_LAG]
        if silent or late:
            raise Degraded("; ".join([*(f"{location} does not answer or replicate" for location in silent), *late]))

    def _usable(self) -> list[Database]:
        """The replicas that can be reached, beginning with another one each time."""
        usable = [replica for replica in self._replicas if replica.is_open and replica.pools[0].trouble is None]
        if len(usable) < 2:
            return usable
        first = next(self._turn) % len(usable)
        return usable[first:] + usable[:first]

    async def _open_all(self) -> None:
        said: set[str] = set()
        delay = TRY_AGAIN
        while closed := [replica for replica in self._replicas if not replica.is_open]:
            await asyncio.gather(*(_try_to_open(replica, said) for replica in closed))
            if not all(replica.is_open for replica in closed):
                await asyncio.sleep(random.uniform(delay / 2, delay))
                delay = min(TRY_AGAIN_MAX, delay * 2)


def _go_on_without(replica: Database, error: Exception) -> None:
    """Raise what is no fault of the replica; a query that replication has ended on it may be asked elsewhere."""
    if isinstance(error, peewee.OperationalError) and not replica.engine.conflict(error):
        raise error
    log.debug("a replica does not answer", location=replica.location, reason=type(error).__name__)


async def _try_to_open(replica: Database, said: set[str]) -> None:
    try:
        await replica.open()
    except EggycoreError as error:
        say = log.debug if replica.location in said else log.warn  # once, as the check goes on saying it
        said.add(replica.location)
        say("a replica cannot be used yet", location=replica.location, reason=diagnose(error).cause)


async def _lag(replica: Database) -> float | None:
    if not replica.is_open:
        return None
    try:
        await replica.check()  # which finds out about one that has fallen silent, so that it is read no more
        return await replica.read(lag_of, replica.peewee, replica.kind)
    except Degraded:
        return None if replica.pools[0].trouble is not None else 0.0
    except (Unavailable, CheckFailed, DatabaseClosed):
        return None
