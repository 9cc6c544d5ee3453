"""Carrying out one migration: whole or not at all where the database can roll back, step by step where it cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import peewee

from eggycore.diagnostics import raised_at, summary
from eggycore_db.migrations import history
from eggycore_db.migrations.errors import MigrationFailed, ResumeImpossible
from eggycore_db.migrations.files import Change
from eggycore_db.migrations.history import Progress, Record
from eggycore_db.migrations.state import Migrations, Step
from eggycore_db.migrations.statements import Collector, Tracker, Watcher, intercepted
from eggycore_db.migrator import SchemaMigrator

__all__ = ["Preview", "accept_edited", "carry_out", "preview"]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a migration would do.

    Args:
        name: The migration.
        statements: Its statements, without parameters.
        problem: Why there are no more of them; "" when these are all.
    """

    name: str
    statements: tuple[str, ...]
    problem: str = ""


def carry_out(
    db: peewee.Database, step: Step, *, finished: tuple[str, ...] = (), app_version: str = "", database: str = "default"
) -> float:
    """Apply one migration, or take it back. The caller holds the migrations' lock on this connection.

    Args:
        db: The database, with a connection of this thread.
        step: The migration.
        finished: Those that were carried out before it by the same command, for the message of a failure.
        app_version: For the history.
        database: The database's name among those of the app, for messages.

    Returns:
        Seconds that it took.

    Raises:
        MigrationFailed: It raised an error.
        ResumeImpossible: It is not what was begun.
    """
    migrator = SchemaMigrator.from_database(db)
    carrying = _Carrying(db, migrator, step, finished, app_version, database)
    if migrator.transactional_ddl and step.script.atomic:
        return carrying.whole()
    return carrying.by_steps()


def accept_edited(db: peewee.Database, migrations: Migrations) -> tuple[str, ...]:
    """Take the files as they are now for what was applied; returns the names of those that were edited."""
    for file in migrations.edited:
        history.put(db, replace(migrations.records[file.name], checksum=file.checksum))
    return tuple(file.name for file in migrations.edited)


def preview(db: peewee.Database, steps: tuple[Step, ...]) -> tuple[Preview, ...]:
    """What the statements of these steps would be; the database stays as it is.

    Where changes of tables can be rolled back they are made and rolled back. On MySQL, and for a migration that is
    not atomic, nothing is run, so that one that asks for what an earlier one would have made cannot be shown.
    """
    migrator = SchemaMigrator.from_database(db)
    previews: list[Preview] = []
    with migrator.migration_context(), _rolled_back(db, migrator.transactional_ddl):
        for step in steps:
            previews.append(_preview(db, migrator, step))
            if previews[-1].problem:
                break
    return tuple(previews)


def _preview(db: peewee.Database, migrator: Any, step: Step) -> Preview:
    run = migrator.transactional_ddl and step.script.atomic
    collector, problem = Collector(run=run), ""
    try:
        with intercepted(db, collector), db.savepoint() if run else nullcontext():
            _change(step)(migrator, db)
    except Exception as error:  # noqa: BLE001  # the border: a migration is the app's code
        problem = summary(error)
    return Preview(name=step.file.name, statements=tuple(collector.statements), problem=problem)


class _Carrying:
    """One step being carried out."""

    def __init__(
        self,
        db: peewee.Database,
        migrator: Any,
        step: Step,
        finished: tuple[str, ...],
        app_version: str,
        database: str,
    ) -> None:
        self._db = db
        self._migrator = migrator
        self._step = step
        self._finished = finished
        self._app_version = app_version
        self._database = database
        self._since = time.monotonic()

    def whole(self) -> float:
        """In one transaction, the line in the history included."""
        watcher = Watcher()
        try:
            with self._migrator.migration_context():
                with intercepted(self._db, watcher):
                    _change(self._step)(self._migrator, self._db)
                return self._settle()
        except Exception as error:
            raise self._failed(error, watcher, None) from error

    def by_steps(self) -> float:
        """Statement by statement, each noted in the history."""
        name = self._step.file.name
        tracker = Tracker(self._db, name, self._step.before, lambda made: history.save_progress(self._db, name, made))
        history.put(self._db, self._record("started" if self._step.direction == "up" else "reverting"))
        try:
            with self._migrator.migration_context(atomic=False), intercepted(self._db, tracker):
                _change(self._step)(self._migrator, self._db)
            tracker.finish()
            return self._settle()
        except ResumeImpossible:
            raise
        except Exception as error:
            raise self._failed(error, tracker, self._stays(tracker)) from error

    def _settle(self) -> float:
        seconds = time.monotonic() - self._since
        if self._step.direction == "up":
            history.put(self._db, replace(self._record("applied"), seconds=seconds, progress=Progress()))
        else:
            history.forget(self._db, self._step.file.name)
        return seconds

    def _stays(self, tracker: Tracker) -> Progress | None:
        """What stays of a failed migration; where nothing does, the history is as if it had not been begun."""
        name = self._step.file.name
        try:
            record = next((record for record in history.read(self._db) if record.name == name), None)
            progress = record.progress if record is not None else tracker.progress
            if progress.done or progress.running:
                return progress
            if self._step.direction == "up":
                history.forget(self._db, name)
            else:
                history.put(self._db, self._record("applied"))
        except peewee.PeeweeException:  # the connection is gone
            return tracker.progress
        return None

    def _record(self, state: history.RecordState) -> Record:
        return Record(
            name=self._step.file.name,
            checksum=self._step.file.checksum,
            state=state,
            at=history.now(),
            app_version=self._app_version,
            progress=self._step.before,
        )

    def _failed(self, error: Exception, watcher: Watcher, stays: Progress | None) -> MigrationFailed:
        place = raised_at(error)
        return MigrationFailed(
            path=self._step.file.path,
            direction=self._step.direction,
            detail=summary(error).rstrip("."),
            finished=self._finished,
            statement=watcher.failed(error),
            number=watcher.count,
            place=place if str(self._step.file.path) in place else "",
            stays=stays.done if stays is not None else None,
            log=stays.log if stays is not None else "",
            database=self._database,
        )


@contextmanager
def _rolled_back(db: peewee.Database, transactional: bool) -> Iterator[None]:
    """Take back at the end what was done in the transaction of this block."""
    try:
        yield
    finally:
        if transactional:
            untyped: Any = db
            untyped.top_transaction().rollback()


def _change(step: Step) -> Change:
    change = step.script.up if step.direction == "up" else step.script.down
    assert change is not None, "a step back is made of files that have a way back"
    return change
