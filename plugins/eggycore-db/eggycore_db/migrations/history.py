"""The history: which migrations a database has had. A table of its own in that database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast

import peewee

__all__ = ["HISTORY_TABLE", "Progress", "Record", "RecordState", "forget", "put", "read", "save_progress"]

HISTORY_TABLE = "eggycore_migrations"

RecordState = Literal["applied", "reverting", "started"]
"""Applied; or begun, going up or down, by a migrator that has not come to the end (yet)."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a migration that cannot be rolled back has come.

    Args:
        done: How many of its statements were carried out.
        digest: What they were, with their parameters: a hash over all of them.
        log: The first of them, one in a line, without parameters.
        running: The one that was begun after them and is not known to have ended; "" when none is.
    """

    done: int = 0
    digest: str = ""
    log: str = ""
    running: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of the history.

    Args:
        name: The migration's.
        checksum: Of its file, as it was.
        state: See `RecordState`.
        at: When it was applied, or begun; UTC, without a time zone.
        seconds: How long it took.
        app_version: Which version of the app brought it; "" when unknown.
        progress: How far it has come, while it is not applied.
    """

    name: str
    checksum: str
    state: RecordState
    at: datetime
    seconds: float = 0.0
    app_version: str = ""
    progress: Progress = field(default_factory=Progress)


class _History(peewee.Model):
    """The table. Its queries always name the database they run on."""

    name = peewee.CharField(max_length=190, primary_key=True)  # MySQL's indexes take 767 bytes, 4 for a character
    checksum = peewee.CharField(max_length=64)
    state = peewee.CharField(max_length=20)
    applied_at = peewee.DateTimeField()
    duration = peewee.DoubleField(default=0.0)
    app_version = peewee.CharField(max_length=190, default="")
    statements = peewee.IntegerField(default=0)
    digest = peewee.CharField(max_length=64, default="")
    log = peewee.TextField()
    running = peewee.TextField()

    class Meta:
        table_name = HISTORY_TABLE


def now() -> datetime:
    """The time as the history keeps it: UTC, to the second."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def read(db: peewee.Database) -> tuple[Record, ...]:
    """Every record, by name; none when there is no history yet."""
    if not db.table_exists(HISTORY_TABLE):
        return ()
    return tuple(_record(row) for row in _History.select().order_by(_History.name).execute(db))


def put(db: peewee.Database, record: Record) -> None:
    """Write a record, over the one of its name if there is one; makes the table when it is missing."""
    peewee.SchemaManager(_History, db).create_table(safe=True)
    values = {
        "name": record.name,
        "checksum": record.checksum,
        "state": record.state,
        "applied_at": record.at,
        "duration": record.seconds,
        "app_version": record.app_version,
        **_columns(record.progress),
    }
    with db.atomic():  # a process that ends between the two loses nothing
        forget(db, record.name)
        _History.insert(values).execute(db)


def save_progress(db: peewee.Database, name: str, progress: Progress) -> None:
    """Note how far a migration has come."""
    _History.update(**_columns(progress)).where(_History.name == name).execute(db)


def forget(db: peewee.Database, name: str) -> None:
    """Delete a record."""
    _History.delete().where(_History.name == name).execute(db)


def _columns(progress: Progress) -> dict[str, object]:
    return {
        "statements": progress.done,
        "digest": progress.digest,
        "log": progress.log,
        "running": progress.running,
    }


def _record(row: Any) -> Record:
    return Record(
        name=row.name,
        checksum=row.checksum,
        state=cast("RecordState", row.state),
        at=row.applied_at,
        seconds=row.duration,
        app_version=row.app_version,
        progress=Progress(done=row.statements, digest=row.digest, log=row.log, running=row.running),
    )
