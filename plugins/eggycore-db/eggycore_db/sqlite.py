"""SQLite: its connections, how many it gets, what its errors mean, and whether its file is still there."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peewee

from eggycore.errors import CheckFailed
from eggycore_db.current import here
from eggycore_db.dsn import SqliteTarget
from eggycore_db.errors import DatabaseUnusable, OutsideWorker, Trouble

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["Shares", "SqliteConnection", "SqliteEngine"]

MAX_READERS = 8
"""More threads than these gained nothing in measurements."""

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


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How the connections are shared out: one writes; so many read; so many stream rows in `iterate`."""

    readers: int
    streams: int


class _WorkerSqlite(peewee.SqliteDatabase):
    """A peewee database that opens connections in its own worker threads only."""

    def connect(self, reuse_if_open: bool = False) -> bool:
        if here.database is None or here.database.peewee is not self:
            raise OutsideWorker(threading.current_thread().name)
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
        self.path = (folder / target.path).absolute() if target.path is not None else None
        self.location = str(self.path or target)
        self.peewee: peewee.Database = _WorkerSqlite(
            self._uri("rwc"),
            uri=True,
            pragmas=PRAGMAS,
            timeout=busy_timeout,
        )
        self._identity: tuple[int, int] | None = None

    def shares(self, max_open: int) -> Shares:
        """How `max_open` connections are shared out. A database in memory is its one connection."""
        if self.path is None or max_open == 1:
            return Shares(readers=0, streams=0)
        readers = min(MAX_READERS, max(max_open - 2, 1))
        return Shares(readers=readers, streams=max_open - 1 - readers)

    def prove_writable(self) -> None:
        """Read the schema and take the write lock once; in a worker that writes.

        Raises:
            peewee.DatabaseError: The file is locked, damaged or not writable; see `explain`.
        """
        self.read_something()
        with self.peewee.atomic():
            pass
        self._identity = _identity(self.path) if self.path is not None else None
        self.peewee.database = self._uri("rw")  # from here on a file that has vanished is an error, not a new file

    def explain(self, error: peewee.PeeweeException) -> DatabaseUnusable:
        """What an error at opening means."""
        code = getattr(error.__context__, "sqlite_errorname", "")  # of the driver's error, which peewee has replaced
        path = self.path or Path(self.location)
        trouble = _TROUBLE_BY_CODE.get("_".join(code.split("_")[:2])) or _trouble_of_the_file(path)
        return DatabaseUnusable(path, trouble, str(error))

    def check_file(self) -> None:
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
        peewee.RawQuery("SELECT count(*) FROM sqlite_master").execute(self.peewee)

    def _uri(self, mode: str) -> str:
        return self.location if self.path is None else f"{self.path.as_uri()}?mode={mode}"


class SqliteConnection:
    """The connection of the worker thread that calls.

    Args:
        database: For whom the thread works.
        writes: Whether it may write.
    """

    def __init__(self, database: Database, *, writes: bool) -> None:
        self._database = database
        self._writes = writes

    def open(self) -> None:
        """Connect this thread."""
        here.database, here.writes = self._database, self._writes
        self._database.peewee.connect()

    def reset(self) -> bool:
        """Roll back whatever transaction is open; whether there was one."""
        database: Any = self._database.peewee  # what follows is untyped in peewee's stubs, or has no public name
        if database.is_closed():
            return False
        connection = database.connection()
        if not database.in_transaction() and not connection.in_transaction:
            return False
        connection.rollback()
        while database.in_transaction():
            database.pop_transaction()
        database._clear_commit_callbacks()
        return True

    def close(self) -> None:
        """Disconnect this thread."""
        self._database.peewee.close()


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
