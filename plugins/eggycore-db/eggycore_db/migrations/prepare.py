"""What happens to a database's tables when an app starts: migrations, then what the repositories still lack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eggycore import log
from eggycore.types import Finding
from eggycore_db.migrations.applying import Order, Watch, migrate
from eggycore_db.migrations.errors import MigrationsPending, command
from eggycore_db.migrations.locking import locked
from eggycore_db.migrations.state import Migrations, Step, read_migrations
from eggycore_db.repository import DEFAULT_DATABASE, owners_of
from eggycore_db.schema import Comparison, add_missing, compare, needs_work

if TYPE_CHECKING:
    from eggycore_db.database import Database
    from eggycore_db.repository import TableOwner

__all__ = ["SchemaReport", "add_tables", "prepare_schema", "schema_findings"]


@dataclass(frozen=True, kw_only=True)
class SchemaReport:
    """What was done to a database's tables.

    Args:
        tables: Those of the registered repositories.
        applied: The migrations that this process has applied.
        added: What this process has added for the repositories: "table form", "column form.title".
        differences: What else differs from the models; a person has to decide.
        unknown: Migrations that the database has had and this version does not know.
    """

    tables: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What was done, in a few words: "1 table, 2 migrations applied, added column form.title"."""
        done = [_counted(len(self.tables), "table")]
        if self.applied:
            done.append(f"{_counted(len(self.applied), 'migration')} applied")
        if self.added:
            done.append(f"added {', '.join(self.added)}")
        if self.differences:
            done.append(_counted(len(self.differences), "difference"))
        return ", ".join(done)


async def prepare_schema(
    db: Database,
    *,
    migrations: Literal["auto", "check", "off"],
    folder: Path,
    auto_tables: bool,
    app_version: str = "",
    database: str = DEFAULT_DATABASE,
    owners: tuple[TableOwner, ...] | None = None,
) -> SchemaReport:
    """Bring an open database's tables to what this version of the app needs, or make sure that they are.

    The migrations' lock is taken only when there is something to do. Whoever waits for it can be cancelled.

    Args:
        db: The database.
        migrations: Apply those that are pending; refuse to go on while some are; or leave them alone.
        folder: Where they are; one that is not there holds none.
        auto_tables: Whether tables, columns and indexes that are missing are added.
        app_version: For the history.
        database: The database's name among those of the app.
        owners: The repositories; those registered for this database when None.

    Raises:
        MigrationsPending: Some are, and `migrations` is "check".
        EggycoreError: What `applying.migrate` raises.
        TableNotMade: Something could not be added.
    """
    wanted = owners_of(database) if owners is None else owners
    applied: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    if migrations != "off":
        found = await db.run(read_migrations, db.peewee, folder, database)
        _warn_of_unknown(found)
        unknown = found.unknown
        found.refuse_edited()
        if migrations == "check":
            _refuse_pending(found, db.location)
        elif found.pending or found.unfinished is not None:
            order = Order(folder=folder, database=database, app_version=app_version)
            applied = await migrate(db, order, Watch(done=_log_done))
    comparison = await db.run(compare, db.peewee, wanted) if wanted else Comparison()
    added: tuple[str, ...] = ()
    if auto_tables and needs_work(comparison, wanted):
        added = await _add(db, wanted)
        comparison = await db.run(compare, db.peewee, wanted)
    return SchemaReport(
        tables=tuple(owner.table_name for owner in wanted),
        applied=applied,
        added=added,
        differences=_warn_of_differences(comparison, database),
        unknown=unknown,
    )


async def schema_findings(
    db: Database,
    *,
    migrations: Literal["auto", "check", "off"],
    folder: Path,
    auto_tables: bool,
    database: str = DEFAULT_DATABASE,
    owners: tuple[TableOwner, ...] = (),
) -> tuple[Finding, ...]:
    """What `prepare_schema` would do with the same arguments, found out without changing anything.

    Raises:
        EggycoreError: A migration was edited, or the history cannot be read.
    """
    found: list[Finding] = []
    subject = f"database {db.name}"
    if migrations != "off":
        state = await db.run(read_migrations, db.peewee, folder, database)
        state.refuse_edited()
        names = [
            *([state.unfinished.name] if state.unfinished is not None else []),
            *(one.name for one in state.pending),
        ]
        if names and migrations == "check":
            text = f"A start waits for {_counted(len(names), 'migration')} to be applied: {', '.join(names)}."
            action = f"Run {command('migrate', database)}."
            found.append(Finding(subject=subject, state="red", text=text, action=action))
        elif names:
            text = f"A start applies {_counted(len(names), 'migration')}: {', '.join(names)}."
            found.append(Finding(subject=subject, state="ok", text=text))
    comparison = await db.run(compare, db.peewee, owners) if owners else Comparison()
    if comparison.additions:
        what = ", ".join(map(str, comparison.additions))
        text = f"A start adds {what}." if auto_tables else f"The models have what the database lacks: {what}."
        found.append(Finding(subject=subject, state="ok" if auto_tables else "warning", text=text))
    return tuple(found)


async def add_tables(db: Database, owners: tuple[TableOwner, ...]) -> tuple[str, ...]:
    """Add what these repositories need and the database lacks; under the migrations' lock, if anything is missing.

    Returns:
        What was added.

    Raises:
        TableNotMade: Something could not be.
    """
    if not owners or not needs_work(await db.run(compare, db.peewee, owners), owners):
        return ()
    return await _add(db, owners)


async def _add(db: Database, owners: tuple[TableOwner, ...]) -> tuple[str, ...]:
    async with locked(db) as session:
        added: tuple[str, ...] = await session.run(add_missing, db.peewee, owners)
    for addition in added:
        log.info("added to the database", what=addition, location=db.location)
    return added


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _refuse_pending(migrations: Migrations, location: str) -> None:
    unfinished = migrations.unfinished
    if migrations.pending or unfinished is not None:
        names = tuple(file.name for file in migrations.pending)
        raise MigrationsPending(names, unfinished.name if unfinished else "", location, migrations.database)


def _warn_of_unknown(migrations: Migrations) -> None:
    if migrations.unknown:
        log.warn(
            "the database has had migrations that this version does not know: a newer version was here",
            migrations=list(migrations.unknown),
            folder=str(migrations.folder),
        )


def _log_done(step: Step, seconds: float) -> None:
    log.info("migration applied", migration=step.file.name, seconds=round(seconds, 3))


def _warn_of_differences(comparison: Comparison, database: str) -> tuple[str, ...]:
    lines = (*(f"{addition} is missing" for addition in comparison.additions), *comparison.differences)
    if lines:
        log.warn(
            "the tables differ from the models",
            differences=list(lines),
            action=f"look with {command('diff', database)}",
        )
    return lines
