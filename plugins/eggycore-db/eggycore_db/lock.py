"""The migrations' lock: one process at a time changes the tables of a database, however many start at once.

It is the server's own lock, of the very session that changes the tables: a paused process keeps it, a killed one
loses it with its connection. Beside it stands who holds it and when they were last heard of: that informs, and decides
nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

import peewee

from eggycore_db.sql import row_of, run_sql

__all__ = ["LOCK_TABLE", "Holder", "Lock", "lift_timeouts", "lock_of"]

LOCK_TABLE = "eggycore_migration_lock"

_POSTGRESQL_KEY = int.from_bytes(hashlib.sha256(b"eggycore migrations").digest()[:8], "big", signed=True)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds the lock, as they say themselves.

    Args:
        host: Name of the machine, of the pod in Kubernetes.
        pid: Process id there.
        since: When they got it, UTC.
        beat: When they were last heard of, UTC.
    """

    host: str
    pid: int
    since: datetime
    beat: datetime

    def __str__(self) -> str:
        silent = max((_now() - self.beat).total_seconds(), 0.0)
        return f"process {self.pid} on {self.host} since {self.since:%H:%M:%S} UTC, last heard of {silent:.0f} s ago"


class Lock(Protocol):
    """The lock of one database. `db` is connected in the calling thread."""

    def acquire(self, db: peewee.Database) -> bool:
        """Take it if it is free, for the session of this connection; whether it was. Does not wait."""

    def release(self, db: peewee.Database) -> None:
        """Give it back, on the connection that took it."""

    def beat(self, db: peewee.Database) -> None:
        """Say that the holder lives; on another connection than the one that took it."""

    def holder(self, db: peewee.Database) -> Holder | None:
        """Who holds it, when that is known; on any connection."""


def lock_of(db: peewee.Database) -> Lock:
    """The lock that fits the kind of database."""
    if isinstance(db, peewee.PostgresqlDatabase):
        return _PostgresqlLock()
    if isinstance(db, peewee.MySQLDatabase):
        return _MySQLLock()
    return _FileLock()


def lift_timeouts(db: peewee.Database) -> None:
    """Lift the session's statement timeout for good: changing a large table may take long."""
    if isinstance(db, peewee.SqliteDatabase):
        return
    names = ("statement_timeout", "idle_in_transaction_session_timeout")
    if isinstance(db, peewee.MySQLDatabase):
        known = "SHOW SESSION VARIABLES WHERE Variable_name IN ('max_statement_time', 'max_execution_time')"
        names = tuple(name for name, _ in run_sql(db, known).fetchall())  # MariaDB's name, or MySQL's
    for name in names:
        run_sql(db, f"SET SESSION {name} = 0")


class _Notice(peewee.Model):
    """The table with one row: who holds the lock of a server's database."""

    id = peewee.IntegerField(primary_key=True)
    host = peewee.CharField(max_length=190)
    pid = peewee.IntegerField()
    since = peewee.DateTimeField()
    beat = peewee.DateTimeField()

    class Meta:
        table_name = LOCK_TABLE


class _ServerLock:
    """What the locks of both servers share: the row that says who holds it."""

    def acquire(self, db: peewee.Database) -> bool:
        """See `Lock`."""
        if not self._lock(db):
            return False
        peewee.SchemaManager(_Notice, db).create_table(safe=True)
        _Notice.delete().execute(db)
        _Notice.insert(id=1, **asdict(_this_process())).execute(db)
        return True

    def release(self, db: peewee.Database) -> None:
        """See `Lock`."""
        _Notice.delete().execute(db)
        self._unlock(db)

    def beat(self, db: peewee.Database) -> None:
        """See `Lock`."""
        _Notice.update(beat=_now()).where(_Notice.pid == os.getpid()).execute(db)

    def holder(self, db: peewee.Database) -> Holder | None:
        """See `Lock`."""
        if not db.table_exists(LOCK_TABLE):
            return None
        row = _Notice.select().first(db)
        return Holder(host=row.host, pid=row.pid, since=row.since, beat=row.beat) if row is not None else None

    def _lock(self, db: peewee.Database) -> bool:
        raise NotImplementedError

    def _unlock(self, db: peewee.Database) -> None:
        raise NotImplementedError


class _PostgresqlLock(_ServerLock):
    """An advisory lock of the session. The server keeps those of each database apart."""

    def _lock(self, db: peewee.Database) -> bool:
        return bool(row_of(db, "SELECT pg_try_advisory_lock(%s)", (_POSTGRESQL_KEY,))[0])

    def _unlock(self, db: peewee.Database) -> None:
        run_sql(db, "SELECT pg_advisory_unlock(%s)", (_POSTGRESQL_KEY,))


class _MySQLLock(_ServerLock):
    """A named lock of the session. Names are the server's, so the database's is part of it."""

    def _lock(self, db: peewee.Database) -> bool:
        return bool(row_of(db, "SELECT GET_LOCK(%s, 0)", (self._name(db),))[0] == 1)

    def _unlock(self, db: peewee.Database) -> None:
        run_sql(db, "SELECT RELEASE_LOCK(%s)", (self._name(db),))

    def _name(self, db: peewee.Database) -> str:
        database = row_of(db, "SELECT DATABASE()")[0]
        return f"eggycore_migrations_{hashlib.sha256(database.encode()).hexdigest()[:40]}"  # 64 characters at most


class _FileLock:
    """A lock on a file beside an SQLite database. One in memory has no second process to keep out."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def acquire(self, db: peewee.Database) -> bool:
        """See `Lock`."""
        path = _lock_file(db)
        if path is None:
            return True
        file = path.open("a+", encoding="utf-8")
        if not _lock_now(file):
            file.close()
            return False
        self._file = file
        self._write(_this_process())
        return True

    def release(self, db: peewee.Database) -> None:
        """See `Lock`."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def beat(self, db: peewee.Database) -> None:
        """See `Lock`."""
        if self._file is not None:
            os.utime(self._file.name)

    def holder(self, db: peewee.Database) -> Holder | None:
        """See `Lock`."""
        path = _lock_file(db)
        try:
            text = path.read_text(encoding="utf-8") if path is not None else ""
            said = json.loads(text)
            return Holder(
                host=said["host"],
                pid=said["pid"],
                since=datetime.fromisoformat(said["since"]),
                beat=datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None) if path else _now(),
            )
        except (OSError, ValueError, KeyError):  # nobody holds it, or it is being written
            return None

    def _write(self, holder: Holder) -> None:
        assert self._file is not None
        self._file.truncate(0)
        json.dump({"host": holder.host, "pid": holder.pid, "since": holder.since.isoformat()}, self._file)
        self._file.flush()


def _lock_now(file: IO[str]) -> bool:
    """Lock a file of this process's; the system unlocks it when the file is closed, or the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows: SQLite's own lock has to do, which keeps one of two from failing, not from waiting
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_file(db: peewee.Database) -> Path | None:
    """The file beside the database; None for a database in memory."""
    for _, name, path in run_sql(db, "PRAGMA database_list").fetchall():
        if name == "main" and path:
            return Path(f"{path}.migrations-lock")
    return None


def _this_process() -> Holder:
    return Holder(host=socket.gethostname()[:190], pid=os.getpid(), since=_now(), beat=_now())


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
