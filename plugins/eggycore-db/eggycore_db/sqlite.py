"""SQLite: its connections, how many it gets, what its errors mean, and whether its file is still there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peewee

from eggycore.errors import CheckFailed
from eggycore_db.current import here
from eggycore_db.errors import DatabaseUnavailable, DatabaseUnusable, Trouble
from eggycore_db.server import in_a_worker, model_rows
from eggycore_db.targets import ServerTarget, SqliteTarget

if TYPE_CHECKING:
    from eggycore_db.engine import EngineKind, Line
    from eggycore_db.server import ServerLimits

__all__ = ["SqliteEngine"]

BUSY_TIMEOUT = 5.0
"""Seconds that a statement waits for another process's lock."""

PRAGMAS: dict[str, object] = {
    "journal_mode": "wal",  # readers and the writer do not wait for each other
    "synchronous": "normal",  # with WAL: a killed process loses nothing, a power cut perhaps the last commits
    "foreign_keys": 1,
}

_TROUBLE_BY_CODE: dict[str, Trouble] = {
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_NOTADB": "corrupt",
    "SQLITE_CORRUPT": "corrupt",
    "SQLITE_FULL": "full",
}


class _WorkerSqlite(peewee.SqliteDatabase):
    """A peewee database that opens connections in its own worker threads only."""

    def connect(self, reuse_if_open: bool = False) -> bool:
        in_a_worker(self)
        return super().connect(reuse_if_open)

    def begin(self, lock_type: str | None = None) -> None:
        # A transaction that may write takes the lock first: upgrading a read lock later could fail at once.
        super().begin(lock_type or ("IMMEDIATE" if here.writes else None))

    def _initialize_connection(self, conn: Any) -> None:
        if not here.writes:
            conn.execute("PRAGMA query_only = 1")


class SqliteEngine:
    """One SQLite database, file or memory.

    Args:
        target: Where it is.
        folder: What a relative path starts from.
        busy_timeout: Seconds that a statement waits for another process's lock.
    """

    def __init__(self, target: SqliteTarget, *, folder: Path, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.kind: EngineKind = "sqlite"
        self.path = (folder / target.path).absolute() if target.path is not None else None
        self.location = str(self.path or target)
        self._peewee: Any = _WorkerSqlite(
            self._uri("rwc"),
            uri=True,
            pragmas=PRAGMAS,
            timeout=busy_timeout,
        )
        self._identity: tuple[int, int] | None = None

    @property
    def peewee(self) -> peewee.Database:
        database: peewee.Database = self._peewee
        return database

    @property
    def is_shared(self) -> bool:
        """Whether several connections see the same rows: not those of a database in memory."""
        return self.path is not None

    @property
    def prepares(self) -> bool:
        return False

    @property
    def statement_limit(self) -> float:
        return 0.0

    def connect(self, *, blocking: bool = False) -> Callable[[], None]:
        self._peewee.connect()
        interrupt: Callable[[], None] = self._peewee.connection().interrupt
        return interrupt

    def line(self) -> None:
        return None

    def alive(self) -> bool:
        return True

    def reset(self) -> bool:
        database: Any = self._peewee  # what follows is untyped in peewee's stubs, or has no public name
        state = database._state
        if not state.transactions and not state.conn.in_transaction:
            return False
        state.conn.rollback()
        state.transactions.clear()
        database._clear_commit_callbacks()
        return True

    def disconnect(self) -> None:
        database: Any = self._peewee
        if not database.is_closed():
            database._state.conn.close()
        database.dispose()

    def set_credentials(self, target: ServerTarget) -> None:
        raise AssertionError("a file has no users")

    def set_limits(self, limits: ServerLimits) -> None:
        """There is no server that could keep them."""

    def writable(self) -> bool:
        self.read_something()
        return True

    def fault(self, error: BaseException, line: Line | None = None) -> DatabaseUnavailable | None:
        return None

    def conflict(self, error: BaseException) -> bool:
        return False

    def timed_out(self, error: BaseException) -> bool:
        return False

    def is_aborted(self) -> bool:
        return not self._peewee.connection().in_transaction

    def rows(self, query: Any) -> Iterator[Any]:
        sql, params = self._peewee.get_sql_context().sql(query).query()
        return model_rows(query, self._peewee.execute_sql(sql, params))

    def prove(self) -> None:
        """Read the schema and take the write lock once; in a worker that writes.

        Raises:
            peewee.DatabaseError: The file is locked, damaged or not writable; see `explain`.
        """
        self.read_something()
        with self._peewee.atomic():
            pass
        self._identity = _identity(self.path) if self.path is not None else None
        self._peewee.database = self._uri("rw")  # from here on a file that has vanished is an error, not a new file

    def explain(self, error: BaseException) -> BaseException:
        """What an error at opening means."""
        if not isinstance(error, peewee.PeeweeException):
            return error
        code = getattr(error.__context__, "sqlite_errorname", "")  # of the driver's error, which peewee has replaced
        path = self.path or Path(self.location)
        trouble = _TROUBLE_BY_CODE.get("_".join(code.split("_")[:2])) or _trouble_of_the_file(path)
        unusable = DatabaseUnusable(path, trouble, str(error))
        unusable.__cause__ = error
        return unusable

    def look(self) -> None:
        """Whether the file is still there and can be written to; in any thread.

        Raises:
            CheckFailed: It is gone, is another one, or cannot be written to.
        """
        if (path := self.path) is None:
            return
        try:
            identity = _identity(path)
        except OSError:
            raise CheckFailed(f"the database file {path} is gone", certain=True) from None
        if identity != self._identity:
            raise CheckFailed(f"the database file {path} was replaced; restart to use the new one", certain=True)
        for place in (path, path.parent):
            if not _may(place, os.W_OK):
                raise CheckFailed(f"this process may not write to {place}", certain=True)

    def read_something(self) -> None:
        """Read from the file; in a worker. (SELECT 1 would not touch it.)

        Raises:
            peewee.DatabaseError: SQLite cannot read it.
        """
        peewee.RawQuery("SELECT count(*) FROM sqlite_master").execute(self._peewee)

    def _uri(self, mode: str) -> str:
        return self.location if self.path is None else f"{self.path.as_uri()}?mode={mode}"


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _trouble_of_the_file(path: Path) -> Trouble:
    troubles: dict[Trouble, Callable[[], bool]] = {
        "folder": lambda: _is(path, stat.S_ISDIR),
        "missing folder": lambda: _missing(path.parent),
        "unwritable folder": lambda: not _may(path.parent, os.W_OK | os.X_OK),
        "unwritable file": lambda: _is(path, stat.S_ISREG) and not _may(path, os.R_OK | os.W_OK),
    }
    return next((trouble for trouble, applies in troubles.items() if applies()), "other")


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.stat().st_mode)
    except OSError:
        return False


def _missing(folder: Path) -> bool:
    try:
        return not stat.S_ISDIR(folder.stat().st_mode)
    except PermissionError:  # it is somewhere this process may not look
        return False
    except OSError:
        return True


def _may(path: Path, mode: int) -> bool:
    """Whether the process, with the user it acts as, has this access."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
