"""`Database`: peewee from asyncio."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

import peewee
from peewee import BaseQuery, CursorWrapper, DoesNotExist, Model, ModelSelect, PeeweeException, RawQuery, SelectBase

from eggycore_db.dsn import parse_dsn
from eggycore_db.errors import DatabaseClosed
from eggycore_db.models import CURRENT
from eggycore_db.sqlite import BUSY_TIMEOUT, SqliteConnection, SqliteEngine
from eggycore_db.workers import Lane

if TYPE_CHECKING:
    from types import TracebackType

    from eggycore_db.instruments import Instruments

__all__ = ["Database"]

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Model)

logging.getLogger("peewee").setLevel(logging.INFO)  # its DEBUG lines hold the values of every query

ROWS_PER_STEP = 200
"""How many rows `iterate` fetches at a time."""


class Database:
    """One database, from asyncio. Its methods may be called by any number of tasks.

    Work is done by peewee in worker threads that each own a connection: one that writes, and some that read. The
    short forms know which they need: `get`, `first`, `list`, `scalar`, `exists` and `iterate` read, `execute` and
    `create` write. Several steps go into a plain function: `await db.run(function, ...)` runs it where writing is
    possible, `await db.read(function, ...)` where it is not and does not queue behind writers. Inside it, queries are
    plain peewee (`Form.get_by_id(7)`), and `with db.atomic():` makes a transaction.

    A caller that is cancelled while its work waits takes it back; work that has begun goes on to its end in its
    thread, and whatever transaction it leaves open is rolled back.

    Args:
        dsn: `sqlite:///file.db` (relative), `sqlite:////folder/file.db` (absolute) or `sqlite:///:memory:`.
        folder: What a relative path starts from; the working folder when None.
        max_open_conns: The most connections open at once.
        max_idle_conns: The most connections kept open while nothing uses them; the writer's is always kept.
        busy_timeout: Seconds that a statement waits for a lock of another process.
        instruments: Where it is measured.

    Raises:
        DsnRefused: The DSN names another kind of database or does not parse.
    """

    def __init__(
        self,
        dsn: str,
        *,
        folder: Path | None = None,
        max_open_conns: int = 100,
        max_idle_conns: int = 10,
        busy_timeout: float = BUSY_TIMEOUT,
        instruments: Instruments | None = None,
    ) -> None:
        self._engine = SqliteEngine(parse_dsn(dsn), folder=folder or Path.cwd(), busy_timeout=busy_timeout)
        self._instruments = instruments
        if instruments:
            self.peewee.query_hooks.append(instruments.query)
        shares = self._engine.shares(max_open_conns)
        self._writer = self._lane("writer", writes=True, size=1, idle=1)
        self._reader = self._writer
        if shares.readers:
            self._reader = self._lane("reader", writes=False, size=shares.readers, idle=max(max_idle_conns - 1, 0))
        self._streams = asyncio.Semaphore(shares.streams) if shares.streams else None
        self._streaming: set[Lane] = set()
        self._open = False

    @property
    def peewee(self) -> peewee.Database:
        """The peewee database, for functions given to `run` and `read`; it connects in their threads only."""
        return self._engine.peewee

    @property
    def location(self) -> str:
        """The file, absolute, or ":memory:"; without secrets."""
        return self._engine.location

    async def open(self) -> None:
        """Open it, and make sure that it can be read and written.

        Raises:
            DatabaseUnusable: It cannot; nothing stays open.
        """
        self._open = True
        try:
            await self._writer.submit(self._engine.prove_writable)
        except PeeweeException as error:
            await self.close()
            raise self._engine.explain(error) from error
        except asyncio.CancelledError:
            await self.close()
            raise
        CURRENT.announce(self.peewee)

    async def close(self) -> None:
        """Finish what has been asked for, close every connection, join every thread. Idempotent.

        A closed database does not open again; make a new one.
        """
        self._open = False
        lanes = {*self._streaming, self._reader, self._writer}
        await asyncio.gather(*(lane.close() for lane in lanes))

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function that may write, with the caller's context variables; one at a time.

        Returns:
            What the function returns. Rows should be fetched in it: a query that runs later has no connection.

        Raises:
            DatabaseClosed: The database is not open.
            TransactionLeftOpen: The function returned inside a transaction, which was rolled back.
            Exception: What the function raises.
        """
        return await self._submit(self._writer, function, *args, **kwargs)

    async def read(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function that only reads; it sees everything committed before. Otherwise like `run`."""
        return await self._submit(self._reader, function, *args, **kwargs)

    def atomic(self) -> AbstractContextManager[object]:
        """A transaction, or a savepoint inside one; for a `with` inside a function given to `run`."""
        return self.peewee.atomic()

    @overload
    async def get(self, query: ModelSelect[M]) -> M: ...
    @overload
    async def get(self, query: SelectBase | RawQuery) -> Any: ...
    async def get(self, query: Any) -> Any:
        """The first row.

        Raises:
            DoesNotExist: There is none; it is `Form.DoesNotExist` for a query of the model Form.
        """
        return await self.read(_get, query.clone(), self.peewee)

    @overload
    async def first(self, query: ModelSelect[M]) -> M | None: ...
    @overload
    async def first(self, query: SelectBase | RawQuery) -> Any: ...
    async def first(self, query: Any) -> Any:
        """The first row, or None."""
        return await self.read(_first, query.clone(), self.peewee)

    @overload
    async def list(self, query: ModelSelect[M]) -> builtins.list[M]: ...
    @overload
    async def list(self, query: SelectBase | RawQuery) -> builtins.list[Any]: ...
    async def list(self, query: Any) -> Any:
        """Every row."""
        return await self.read(_list, query.clone(), self.peewee)

    async def scalar(self, query: SelectBase) -> Any:
        """The first column of the first row, or None."""
        return await self.read(_scalar, query.clone(), self.peewee)

    async def exists(self, query: SelectBase) -> bool:
        """Whether there is a row."""
        return await self.read(_exists, query.clone(), self.peewee)

    async def execute(self, query: BaseQuery) -> Any:
        """Run an insert, update, delete or raw query.

        Returns:
            The new row's key of an insert, the number of rows of an update or delete, the list of rows of a raw
            query or one with `returning`.
        """
        return await self.run(_execute, query.clone(), self.peewee)

    async def create(self, model: type[M], **fields: object) -> M:
        """Insert a row and return it as a model with its key."""
        return await self.run(model.create, **fields)

    @overload
    def iterate(self, query: ModelSelect[M]) -> AsyncIterator[M]: ...
    @overload
    def iterate(self, query: SelectBase) -> AsyncIterator[Any]: ...
    async def iterate(self, query: Any) -> Any:
        """Every row, one after another, in constant memory, as they were when the iteration began.

        It has a connection of its own while it lasts. A database in memory, or one limited to two connections, has
        none to spare: its rows are read at once.
        """
        if self._streams is None:
            for row in await self.list(query):
                yield row
            return
        async with self._streams, self._stream() as lane:
            rows = await lane.submit(query.clone().iterator, self.peewee)
            while step := await lane.submit(_take, rows):
                for row in step:
                    yield row

    async def check(self) -> None:
        """Ask whether the database can be used now.

        Raises:
            CheckFailed: It cannot: the file is gone, is another one, or cannot be written to.
            peewee.DatabaseError: SQLite cannot read it.
            DatabaseClosed: It is not open.
        """
        await asyncio.to_thread(self._engine.check_file)
        await self.read(self._engine.read_something)

    async def _submit(self, lane: Lane, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if not self._open:
            raise DatabaseClosed(self.location)
        return await lane.submit(function, *args, **kwargs)

    @asynccontextmanager
    async def _stream(self) -> AsyncIterator[Lane]:
        if not self._open:
            raise DatabaseClosed(self.location)
        lane = self._lane("stream", writes=False, size=1, idle=1)
        self._streaming.add(lane)
        try:
            yield lane
        finally:
            await lane.close()
            self._streaming.discard(lane)

    def _lane(self, name: str, *, writes: bool, size: int, idle: int) -> Lane:
        return Lane(
            f"eggycore-db-{name}",
            size=size,
            idle=idle,
            connection=SqliteConnection(self, writes=writes),
            location=self.location,
            instruments=self._instruments,
        )


def _get(query: Any, database: peewee.Database) -> Any:
    if isinstance(query, ModelSelect):
        return query.get(database)
    if (row := _first(query, database)) is None:
        raise DoesNotExist("the query has no row")
    return row


def _first(query: Any, database: peewee.Database) -> Any:
    if isinstance(query, SelectBase):
        return query.first(database)
    return next(iter(query.execute(database)), None)


def _list(query: Any, database: peewee.Database) -> list[Any]:
    return list(query.execute(database))


def _scalar(query: Any, database: peewee.Database) -> Any:
    return query.scalar(database)


def _exists(query: Any, database: peewee.Database) -> bool:
    return bool(query.exists(database))


def _execute(query: Any, database: peewee.Database) -> Any:
    result = query.execute(database)
    return list(result) if isinstance(result, CursorWrapper) else result


def _take(rows: Any) -> list[Any]:
    return list(islice(rows, ROWS_PER_STEP))
