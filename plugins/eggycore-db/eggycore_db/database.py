"""`Database`: peewee from asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

import eggycore_db.drivers  # noqa: F401  # before peewee is imported

import peewee  # isort: skip
from peewee import Model  # isort: skip

from eggycore_db.dsn import parse_dsn
from eggycore_db.engine import Engine, EngineKind
from eggycore_db.errors import DatabaseClosed
from eggycore_db.liveness import Liveness
from eggycore_db.models import CURRENT
from eggycore_db.pool import Pool, PoolLimits
from eggycore_db.reader import Reader
from eggycore_db.server import ServerLimits, take
from eggycore_db.session import Session
from eggycore_db.statements import Statements
from eggycore_db.targets import ServerTarget, SqliteTarget, Target
from eggycore_db.transaction import Isolation, Transaction
from eggycore_db.transaction_block import TransactionBlock, called_at
from eggycore_db.writes import Writes

if TYPE_CHECKING:
    from types import TracebackType

    from eggycore.types import Finding
    from eggycore_db.instruments import QueryInstruments, QueryLog

__all__ = ["Database"]

P = ParamSpec("P")
T = TypeVar("T")

logging.getLogger("peewee").setLevel(logging.INFO)  # its DEBUG lines hold the values of every query


class Database(Writes):
    """One database, from asyncio. Its methods may be called by any number of tasks of the loop that opened it.

    Work is done by peewee in worker threads that each own a connection; on PostgreSQL the event loop itself sends what
    needs no peewee while it waits: `get` by key, `create`, updates, deletes, and the transaction around them. A
    connection is taken for one query, one function or one transaction, never for the life of a task. Several steps go
    into a plain function, `await db.run(function, ...)`, in which queries are plain peewee (`Form.get_by_id(7)`), or
    into `async with db.transaction():`.

    A caller that is cancelled while its work waits takes it back; work that has begun goes on to its end, unless the
    database is closed meanwhile, and whatever transaction it leaves open is rolled back.

    Args:
        dsn: A DSN, for example "postgresql://user:password@host/name" or "sqlite:///file.db", or a parsed one.
        name: What it is called in metrics and for `get_db(name)`.
        folder: What a relative SQLite path starts from; the working folder when None.
        pool: How many connections, and how long anything may take.
        server: Timeouts of servers, and the name we connect under.
        busy_timeout: Seconds that a statement waits for another process's lock of an SQLite file.
        writes: Whether it has to take writes; a replica has not.
        replicas: Databases that may be read and lag behind, for `reader`.
        instruments: Where it is measured.

    Raises:
        DsnRefused: The DSN does not parse.
    """

    def __init__(
        self,
        dsn: str | Target,
        *,
        name: str = "default",
        folder: Path | None = None,
        pool: PoolLimits | None = None,
        server: ServerLimits | None = None,
        busy_timeout: float = 5.0,
        writes: bool = True,
        replicas: tuple[Target, ...] = (),
        instruments: QueryInstruments | None = None,
    ) -> None:
        self.name = name
        self.writes = writes
        self._target = parse_dsn(dsn) if isinstance(dsn, str) else dsn
        self._limits = pool or PoolLimits()
        self._server = server or ServerLimits()
        self._engine = _engine(self._target, folder or Path.cwd(), self._server, busy_timeout, writes)
        self._instruments = instruments
        if instruments:
            self.peewee.query_hooks.append(instruments.query)
        self.statements = Statements()
        self.has_fences = False
        """Whether the table of `fence` is known to be there."""
        self._transaction: ContextVar[Transaction | None] = ContextVar(f"transaction of {name}", default=None)
        self._writer: Pool | None = None
        self._reader: Pool | None = None
        self._liveness = Liveness(self)
        self.changed: Callable[[], None] | None = None
        """Called in the loop when the server can be used no more, and when it can be used again; set before `open`."""
        self.family: Callable[[], Iterable[Database]] = lambda: (self,)
        """Those that `examine` looks at."""
        self.findings: tuple[Finding, ...] = ()
        """What was found out when it was opened only to look, for `examine`."""
        self.reader = Reader(self, tuple(self._replica(number, one) for number, one in enumerate(replicas, 1)))
        """Reads from the replicas, or from here where there are none: for queries that may lag behind."""

    @property
    def is_open(self) -> bool:
        """Whether it has been opened and not closed."""
        return self._writer is not None

    @property
    def kind(self) -> EngineKind:
        """ "sqlite", "postgresql" or "mysql", which MariaDB and TiDB are too."""
        return self._engine.kind

    @property
    def peewee(self) -> peewee.Database:
        """The peewee database, for functions given to `run` and `read`; it connects in their threads only."""
        return self._engine.peewee

    @property
    def location(self) -> str:
        """Where it is, without secrets: "postgresql://host:5432/name", a file, or ":memory:"."""
        return self._engine.location

    @property
    def target(self) -> Target:
        """Where it is, as it was given."""
        return self._target

    @property
    def limits(self) -> PoolLimits:
        """The limits of its pool."""
        return self._limits

    @property
    def engine(self) -> Engine:
        """What is particular to its kind."""
        return self._engine

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Its pools of connections, while it is open: one, or for an SQLite file one that writes and one that reads."""
        return tuple(dict.fromkeys(pool for pool in (self._writer, self._reader) if pool is not None))

    async def open(self) -> None:
        """Open it, and make sure that it can be read and written.

        Raises:
            DatabaseUnusable: The SQLite file cannot be used.
            DatabaseUnavailable: The server cannot; DatabaseNotUp when it may be later. Nothing stays open.
        """
        self._make_pools()
        assert self._writer is not None
        try:
            await self._writer.submit_ahead(self._engine.prove)
        except asyncio.CancelledError:
            await self.close()
            raise
        except Exception as error:  # noqa: BLE001  # every one is raised again, explained where that is possible
            await self.close()
            raise self._engine.explain(error)  # noqa: B904  # it is its own cause, or has the driver's error for one
        CURRENT.announce(self.peewee)
        await self.reader.open()

    async def close(self) -> None:
        """Finish what has been asked for, close every connection, join every thread. Idempotent.

        Work whose caller was cancelled gets half a second, then its connection is cut. When this is cancelled, all are.

        A closed database does not open again; make a new one.
        """
        await asyncio.gather(self._liveness.close(), self.reader.close())
        pools = self.pools
        self._writer = self._reader = None
        await asyncio.gather(*(pool.close() for pool in pools))

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function that may write, with the caller's context variables.

        On SQLite one such function runs at a time.

        Returns:
            What the function returns. Rows should be fetched in it: a query that runs later has no connection.

        Raises:
            DatabaseClosed: The database is not open.
            DatabaseUnavailable: The server cannot be reached now.
            PoolExhausted: No connection was free in time.
            QueryTimeout: It took too long; its connection was cut.
            TransactionLeftOpen: The function returned inside a transaction, which was rolled back.
            TransactionOfAnotherTask: The task that called was started inside a transaction of another one.
            Exception: What the function raises.
        """
        if (transaction := self.open_transaction()) is not None:
            result: T = await transaction.run(function, args, kwargs)
            return result
        return await self._opened(self._writer).submit(function, args, kwargs)

    async def read(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function that only reads; it sees everything committed before. Otherwise like `run`.

        On SQLite it does not queue behind those that write.
        """
        if (transaction := self.open_transaction()) is not None:
            result: T = await transaction.run(function, args, kwargs)
            return result
        return await self._opened(self._reader).submit(function, args, kwargs)

    def transaction(self, *, retries: int = 0, isolation: Isolation | None = None) -> TransactionBlock:
        """A transaction for `async with`: committed at the end of the block, rolled back when it raises.

        Everything that its task does with this database inside the block belongs to it, `db.run(function)` too.
        Inside another transaction it is a savepoint. A transaction belongs to one task; what other tasks do in the
        meantime is refused when they were started in it.

        Args:
            retries: How often it is tried again when the server ends it for another one (deadlock, serialization
                failure): what was done before is replayed, and has to give the same results.
            isolation: "read committed", "repeatable read" or "serializable"; the server's default when None.

        Raises:
            TransactionConflict: The server ended it for another one, and no retry helped.
        """
        return TransactionBlock(self, retries, isolation)

    async def fence(self, name: str, token: int) -> None:
        """Go on in this transaction only if no leader of a later term has passed the fence: as its first step.

        Until the end of the transaction no other passes the fence of this name. In a function given to `run` it is
        `eggycore_db.fence(name, token)`.

        Args:
            name: What the leader leads, up to 190 characters; made when it is passed first.
            token: Of the term, as it was when the work began: `term.token`, up to 63 bits.

        Raises:
            Fenced: One has; the transaction is rolled back, even if the error is caught inside it.
            FenceOutsideTransaction: No transaction is open.
        """
        from eggycore_db.fences import Fenced, FenceOutsideTransaction, pass_fence

        transaction = self.open_transaction()
        if transaction is None:
            raise FenceOutsideTransaction(name)
        try:
            await transaction.run(pass_fence, (self, name, token))
        except Fenced:
            transaction.doom()
            raise

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """One connection for several functions, without a transaction: for locks and settings of a connection."""
        worker = await self._opened(self._writer).acquire(f"a session opened at {called_at()}")
        try:
            yield Session(self._opened(self._writer), worker)
        finally:
            worker.release()

    def atomic(self) -> AbstractContextManager[object]:
        """A transaction, or a savepoint inside one; for a `with` inside a function given to `run`."""
        return self.peewee.atomic()

    async def iterate(self, query: Any) -> Any:
        """Every row, one after another, in constant memory, as they were when the iteration began.

        It holds a connection while it lasts. Inside a transaction, and on SQLite with one connection, all rows are
        read at once.
        """
        pool = self._opened(self._reader)
        if self.open_transaction() is not None or (self.kind == "sqlite" and pool is self._writer):
            for row in await self.list(query):
                yield row
            return
        worker = await pool.acquire(f"an iteration begun at {called_at()}")
        session = Session(pool, worker)
        try:
            rows = await session.run(self._engine.rows, query.clone())
            try:
                while step := await session.run(take, rows):
                    for row in step:
                        yield row
            finally:
                with suppress(DatabaseClosed):  # which has ended them
                    await session.run(_end, rows)
        finally:
            worker.release()

    async def check(self) -> None:
        """Ask whether the database can be used now.

        Raises:
            CheckFailed: It cannot: it does not answer, takes no writes, or the SQLite file is gone or read-only.
            Degraded: Every connection is busy.
            DatabaseClosed: It is not open.
        """
        await self._liveness.check()

    async def examine(self, *, replicas: int) -> list[Finding]:
        """Look at it, and at the others that its runtime has if it is the default one, for `eggycore doctor`."""
        from eggycore_db.examination import examine

        return await examine(self.family(), replicas)

    def set_credentials(self, target: Target) -> None:
        """Connect from now on as the user of `target`; connections that are open stay."""
        if isinstance(target, ServerTarget):
            self._engine.set_credentials(target)
            for pool in self.pools:
                pool.try_now()

    @property
    def server_limits(self) -> ServerLimits:
        """The limits with which it connects."""
        return self._server

    def set_server_limits(self, limits: ServerLimits) -> None:
        """Connect from now on with these limits; connections that let statements run for another time are replaced."""
        before, self._server = self._server, limits
        self._engine.set_limits(limits)
        if before.statement != limits.statement:
            for pool in self.pools:
                pool.renew()

    def resize(self, limits: PoolLimits) -> None:
        """Go on with other limits of the pool."""
        self._limits = limits
        for pool, share in zip(self.pools, self._shares(limits), strict=False):
            pool.resize(share)

    def set_query_log(self, rules: QueryLog) -> None:
        """Log other queries from now on."""
        if self._instruments is not None:
            self._instruments.log = rules

    def open_transaction(self) -> Transaction | None:
        """The transaction that is open here: this task's own, or that of the task that started this one."""
        transaction = self._transaction.get()
        return transaction if transaction is not None and transaction.is_open else None

    def new_transaction(self, retries: int, isolation: Isolation | None, opened_at: str) -> Transaction:
        """A transaction that is not open yet."""
        pool = self._opened(self._writer)
        return Transaction(self, pool, retries=retries, isolation=isolation, opened_at=opened_at)

    def enter_transaction(self, transaction: Transaction | None) -> None:
        """From here on, work of this task belongs to this transaction."""
        self._transaction.set(transaction)

    async def _by_key(self, model: type[Model], key: object) -> Any:
        prepared = self.statements.prepared_get(self.peewee, model, key) if self._engine.prepares else None
        return await self._submit(self._opened(self._reader), self.statements.get, (self.peewee, model, key), prepared)

    async def _query(self, function: Callable[..., T], *args: Any) -> T:
        result: T = await self._submit(self._opened(self._reader), function, (self.peewee, *args), None)
        return result

    def _writing_pool(self) -> Pool:
        return self._opened(self._writer)

    def _opened(self, pool: Pool | None) -> Pool:
        if pool is None:
            raise DatabaseClosed(self.location)
        return pool

    def _shares(self, limits: PoolLimits) -> tuple[PoolLimits, ...]:
        """The limits of each pool: SQLite has one connection that writes, and the others read."""
        if self.kind != "sqlite":
            return (limits,)
        forever = {"lifetime": 0.0, "idle_time": 0.0}
        writer = replace(limits, max_open=1, max_idle=1, min_open=1, **forever)
        if limits.max_open == 1 or (isinstance(self._target, SqliteTarget) and self._target.path is None):
            return (writer,)
        idle = max(limits.max_idle - 1, 0)
        return writer, replace(limits, max_open=limits.max_open - 1, max_idle=idle, min_open=0, **forever)

    def _replica(self, number: int, target: Target) -> Database:
        return Database(
            target,
            name=f"{self.name}-replica-{number}",
            pool=self._limits,
            server=self._server,
            writes=False,
            instruments=self._instruments,
        )

    def _make_pools(self) -> None:
        writer, *reader = self._shares(self._limits)
        name = "writer" if reader else self.name
        self._writer = self._pool(name, writer, writes=True)
        self._reader = self._pool("reader", reader[0], writes=False) if reader else self._writer

    def _pool(self, name: str, limits: PoolLimits, *, writes: bool) -> Pool:
        pool = Pool(name, engine=self._engine, database=self, writes=writes, limits=limits)
        pool.waited = self._instruments.waited if self._instruments is not None else None
        pool.changed = self.changed
        pool.open()
        return pool


def _engine(target: Target, folder: Path, limits: ServerLimits, busy_timeout: float, writes: bool) -> Engine:
    if isinstance(target, SqliteTarget):
        from eggycore_db.sqlite import SqliteEngine

        return SqliteEngine(target, folder=folder, busy_timeout=busy_timeout)
    if target.kind == "postgresql":
        from eggycore_db.postgresql import PostgresqlEngine

        return PostgresqlEngine(target, limits=limits, writes=writes)
    from eggycore_db.mysql import MysqlEngine

    return MysqlEngine(target, limits=limits, writes=writes)


def _end(rows: Any) -> None:
    """Let go of rows that were not all read."""
    if (close := getattr(rows, "close", None)) is not None:
        close()
