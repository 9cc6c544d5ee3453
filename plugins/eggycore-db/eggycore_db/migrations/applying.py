"""Migrations from asyncio: under the lock, one after another, so that a cancelled caller stops between two of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eggycore import log
from eggycore_db.migrations.locking import Waiting, locked, log_waiting
from eggycore_db.migrations.running import accept_edited, carry_out
from eggycore_db.migrations.state import Migrations, Step, Unfinished, read_migrations

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["Order", "Watch", "migrate", "rollback"]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Who is told how it goes. All are called in the event loop.

    Args:
        planned: Gets the steps before the first is carried out.
        accepted: Gets the names of edited files that are taken for what was applied.
        done: Gets each step that was carried out, and the seconds it took.
        waiting: See `locking.Waiting`.
    """

    planned: Callable[[tuple[Step, ...]], object] = lambda steps: None
    accepted: Callable[[tuple[str, ...]], object] = lambda names: None
    done: Callable[[Step, float], object] = lambda step, seconds: None
    waiting: Waiting = log_waiting


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be done, and with what.

    Args:
        folder: Where the migrations are.
        database: The database's name among those of the app.
        app_version: For the history; "" when unknown.
        target: The last to be applied, by number or name; all when "".
        steps: How many are to be taken back.
        out_of_order: Whether migrations older than one that was applied may be applied.
        accept_edited: Whether edited files are taken for what was applied.
        unfinished: What to do about a migration that has not come to its end.
    """

    folder: Path
    database: str = "default"
    app_version: str = ""
    target: str = ""
    steps: int = 1
    out_of_order: bool = False
    accept_edited: bool = False
    unfinished: Unfinished = "refuse"

    def to_apply(self, migrations: Migrations) -> tuple[Step, ...]:
        """What is to be applied; see `Migrations.to_apply`."""
        return migrations.to_apply(target=self.target, out_of_order=self.out_of_order, unfinished=self.unfinished)

    def to_revert(self, migrations: Migrations) -> tuple[Step, ...]:
        """What is to be taken back; see `Migrations.to_revert`."""
        return migrations.to_revert(steps=self.steps, unfinished=self.unfinished)


async def migrate(db: Database, order: Order, watch: Watch | None = None) -> tuple[str, ...]:
    """Apply what is pending.

    Returns:
        The names of what was applied, in order.

    Raises:
        MigrationEdited, MigrationUnfinished, MigrationsOutOfOrder, MigrationUnknown: It is not to be done now.
        MigrationsShareNumber, MigrationUnreadable, MigrationUnusable: The files cannot be used.
        MigrationFailed, ResumeImpossible: One failed; those before it stay applied.
    """
    watch = watch or Watch()
    async with locked(db, watch.waiting) as session:
        migrations: Migrations = await session.run(read_migrations, db.peewee, order.folder, order.database)
        if order.accept_edited:
            watch.accepted(await session.run(accept_edited, db.peewee, migrations))
            migrations = await session.run(read_migrations, db.peewee, order.folder, order.database)
        migrations.refuse_edited()
        return await _carry_out(session.run, db, order, order.to_apply(migrations), watch)


async def rollback(db: Database, order: Order, watch: Watch | None = None) -> tuple[str, ...]:
    """Take back the newest.

    Returns:
        The names of what was taken back, in order.

    Raises:
        MigrationUnfinished, MigrationNotReversible: It is not to be done, or cannot be.
        MigrationsShareNumber, MigrationUnreadable, MigrationUnusable: The files cannot be used.
        MigrationFailed, ResumeImpossible: One failed; those before it stay taken back.
    """
    watch = watch or Watch()
    async with locked(db, watch.waiting) as session:
        migrations = await session.run(read_migrations, db.peewee, order.folder, order.database)
        return await _carry_out(session.run, db, order, order.to_revert(migrations), watch)


async def _carry_out(
    run: Callable[..., Awaitable[float]], db: Database, order: Order, steps: tuple[Step, ...], watch: Watch
) -> tuple[str, ...]:
    watch.planned(steps)
    finished: tuple[str, ...] = ()
    for step in steps:
        try:
            seconds = await run(
                carry_out, db.peewee, step, finished=finished, app_version=order.app_version, database=order.database
            )
        except asyncio.CancelledError:
            log.warn("asked to stop in the middle of a migration: it goes on while it may", migration=step.file.name)
            raise
        finished = (*finished, step.file.name)
        watch.done(step, seconds)
    return finished
