"""How the files of a folder and the history of a database fit together, and what is to be done about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eggycore_db.migrations.errors import (
    Direction,
    MigrationEdited,
    MigrationNotReversible,
    MigrationsOutOfOrder,
    MigrationUnfinished,
    MigrationUnknown,
)
from eggycore_db.migrations.files import MigrationFile, Script, number_of, read_folder
from eggycore_db.migrations.history import Progress, Record, read

if TYPE_CHECKING:
    import peewee

__all__ = ["Entry", "Migrations", "Step", "Unfinished", "read_migrations"]

EntryState = Literal["applied", "edited", "pending", "unfinished", "unknown"]

Unfinished = Literal["refuse", "resume", "retry"]
"""What to do about a migration that has not come to its end: nothing, go on with it, or begin it anew."""

_DIRECTIONS: dict[str, Direction] = {"started": "up", "reverting": "down"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One migration and what has become of it.

    Args:
        name: The migration.
        state: applied; edited since; pending; unfinished; or unknown: applied, and there is no file of it here.
        at: When it was applied or begun, UTC.
        seconds: How long it took.
        app_version: The version of the app that applied it, "" when unknown.
    """

    name: str
    state: EntryState
    at: datetime | None = None
    seconds: float = 0.0
    app_version: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One migration to be carried out.

    Args:
        file: The migration.
        script: What it does.
        direction: Whether it is applied or taken back.
        before: What an earlier attempt has done of it.
    """

    file: MigrationFile
    script: Script
    direction: Direction
    before: Progress = field(default_factory=Progress)


@dataclass(frozen=True, kw_only=True)
class Migrations:
    """The migrations of one database.

    Args:
        folder: Where the files are.
        files: Those there are, by number.
        records: What the database has had.
        database: Its name among those of the app.
    """

    folder: Path
    files: tuple[MigrationFile, ...]
    records: dict[str, Record] = field(default_factory=dict)
    database: str = "default"

    def entries(self) -> tuple[Entry, ...]:
        """Every migration, of the folder or of the history, by number."""
        names = {file.name for file in self.files} | self.records.keys()
        return tuple(self._entry(name) for name in sorted(names, key=_order))

    @property
    def pending(self) -> tuple[MigrationFile, ...]:
        """The files that the database has not had."""
        return tuple(file for file in self.files if file.name not in self.records)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What was applied and has no file here: the database was served by a newer version, or a file was removed."""
        return tuple(sorted(self.records.keys() - {file.name for file in self.files}, key=_order))

    @property
    def unfinished(self) -> Record | None:
        """The migration that was begun and has not come to its end."""
        return next((record for record in self.records.values() if record.state != "applied"), None)

    @property
    def edited(self) -> tuple[MigrationFile, ...]:
        """The files that are not what was applied."""
        return tuple(file for file in self.files if self._entry(file.name).state == "edited")

    @property
    def late(self) -> tuple[str, ...]:
        """The pending migrations that are older than the newest that was applied."""
        newest = self.newest
        return tuple(file.name for file in self.pending if newest and _order(file.name) < _order(newest))

    @property
    def newest(self) -> str:
        """The newest that was applied; "" when none was."""
        return max(self.records, key=_order, default="")

    def refuse_edited(self) -> None:
        """Raises MigrationEdited when a file is not what was applied."""
        for file in self.edited:
            record = self.records[file.name]
            raise MigrationEdited(file.path, record.at, record.checksum, file.checksum, self.database)

    def to_apply(
        self, *, target: str = "", out_of_order: bool = False, unfinished: Unfinished = "refuse"
    ) -> tuple[Step, ...]:
        """What is to be applied, in order; every file of it was loaded.

        Args:
            target: The last to be applied, by number or name; all when "".
            out_of_order: Whether migrations older than one that was applied may be.
            unfinished: What to do about one that was begun.

        Raises:
            MigrationUnknown: There is no such target.
            MigrationUnfinished: One was begun, and `unfinished` is "refuse", or it was being taken back.
            MigrationsOutOfOrder: One is older than one that was applied.
            MigrationUnusable: A file does not run.
        """
        begun = self._begun("up", unfinished)
        last = _order(self._find(target)) if target else None
        wanted = [file for file in self.pending if last is None or _order(file.name) <= last]
        late = tuple(file.name for file in wanted if file.name in self.late)
        if late and not out_of_order:
            raise MigrationsOutOfOrder(late, self.newest, self.database)
        return (*begun, *(Step(file=file, script=file.load(), direction="up") for file in wanted))

    def to_revert(self, *, steps: int = 1, unfinished: Unfinished = "refuse") -> tuple[Step, ...]:
        """What is to be taken back, the newest first; every file of it was loaded.

        Args:
            steps: How many; one that was begun counts.
            unfinished: What to do about one that was begun.

        Raises:
            MigrationUnfinished: One was begun, and `unfinished` is "refuse", or it was being applied.
            MigrationNotReversible: One has no `down`, or its file is gone.
            MigrationUnusable: A file does not run.
        """
        begun = self._begun("down", unfinished)
        names = [name for name, record in self.records.items() if record.state == "applied"]
        newest = sorted(names, key=_order, reverse=True)[: max(steps - len(begun), 0)]
        return (*begun, *map(self._revert, newest))

    def _revert(self, name: str) -> Step:
        file = self._file(name)
        if file is None:
            raise MigrationNotReversible(name, self.folder, missing=True)
        script = file.load()
        if script.down is None:
            raise MigrationNotReversible(name, self.folder, missing=False)
        return Step(file=file, script=script, direction="down")

    def _begun(self, direction: Direction, unfinished: Unfinished) -> tuple[Step, ...]:
        record = self.unfinished
        if record is None:
            return ()
        begun, progress = _DIRECTIONS[record.state], record.progress
        if begun != direction or unfinished == "refuse":
            raise MigrationUnfinished(
                record.name, begun, record.at, progress.done, progress.log, progress.running, self.database
            )
        before = progress if unfinished == "resume" else Progress()
        file = self._file(self._find(record.name))
        assert file is not None
        if direction == "down":
            return (Step(file=file, script=self._revert(record.name).script, direction="down", before=before),)
        return (Step(file=file, script=file.load(), direction="up", before=before),)

    def _entry(self, name: str) -> Entry:
        record, file = self.records.get(name), self._file(name)
        if record is None:
            return Entry(name=name, state="pending")
        state: EntryState = "applied"
        if record.state != "applied":
            state = "unfinished"
        elif file is None:
            state = "unknown"
        elif file.checksum != record.checksum:
            state = "edited"
        return Entry(name=name, state=state, at=record.at, seconds=record.seconds, app_version=record.app_version)

    def _file(self, name: str) -> MigrationFile | None:
        return next((file for file in self.files if file.name == name), None)

    def _find(self, asked: str) -> str:
        """The name of the file that is meant by a number, a name or a path."""
        name = Path(asked).stem
        for file in self.files:
            if file.name == name or (name.isdigit() and file.number == int(name)):
                return file.name
        raise MigrationUnknown(asked, self.folder, tuple(file.name for file in self.files))


def read_migrations(db: peewee.Database, folder: Path, database: str = "default") -> Migrations:
    """Read the folder, and the history of `db`.

    Raises:
        MigrationsShareNumber, MigrationUnreadable: The folder cannot be used.
    """
    records = {record.name: record for record in map(_settled, read(db)) if record is not None}
    return Migrations(folder=folder, files=read_folder(folder), records=records, database=database)


def _settled(record: Record) -> Record | None:
    """A migration that was begun, and of which nothing was carried out, is as if it had not been begun."""
    if record.state == "applied" or record.progress.done or record.progress.running:
        return record
    return replace(record, state="applied") if record.state == "reverting" else None


def _order(name: str) -> tuple[int, str]:
    return number_of(name), name
