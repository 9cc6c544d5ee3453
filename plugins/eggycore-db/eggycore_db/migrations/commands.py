"""What the commands of `eggycore db` do: with the database of one name, and without the rest of the runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from eggycore.diagnostics import Diagnosis, diagnose, did_you_mean
from eggycore.errors import UsageError
from eggycore_db.database import Database
from eggycore_db.databases import DEFAULT, settings_by_name
from eggycore_db.migrations import applying
from eggycore_db.migrations.applying import Order, Watch
from eggycore_db.migrations.errors import PendingFirst
from eggycore_db.migrations.locking import locked
from eggycore_db.migrations.running import Preview
from eggycore_db.migrations.running import preview as preview_steps
from eggycore_db.migrations.state import Migrations, Unfinished, read_migrations
from eggycore_db.pool import PoolLimits
from eggycore_db.repository import owners_of
from eggycore_db.schema import Comparison, compare
from eggycore_db.server import ServerLimits
from eggycore_db.settings import DatabaseSettings
from eggycore_db.targets import Target

if TYPE_CHECKING:
    from eggycore.runtime import Runtime
    from eggycore_db.repository import TableOwner

__all__ = ["NoSuchDatabase", "Place", "change", "compare_migrated", "compare_now", "place", "preview", "read", "run"]

T = TypeVar("T")


@dataclass(eq=False)
class NoSuchDatabase(UsageError):
    """A database was named that DATABASES does not name."""

    asked: str
    known: tuple[str, ...]


@diagnose.register
def _(error: NoSuchDatabase) -> Diagnosis:
    return Diagnosis(
        description=f"There is no database {error.asked!r}.{did_you_mean(error.asked, error.known)}",
        cause=f"DATABASES names {', '.join(error.known)}." if error.known else "DATABASES names none.",
        action="Name one of them, or leave --database out for the one of DATABASE_DSN.",
    )


@dataclass(frozen=True, kw_only=True)
class Place:
    """One database of the app, as configured.

    Args:
        name: Its name among those of the app.
        target: Where it is.
        folder: The folder of its migrations, absolute.
        home: The app's folder.
        settings: All of its settings.
        owners: The repositories whose tables are in it.
        app_version: The version of the app, "" when unknown.
    """

    name: str
    target: Target
    folder: Path
    home: Path
    settings: DatabaseSettings
    owners: tuple[TableOwner, ...] = ()
    app_version: str = ""

    @property
    def location(self) -> str:
        """Where it is, without secrets."""
        return self.target.location

    @property
    def shown_folder(self) -> str:
        """The folder of its migrations, as short as it can be said from the app's folder."""
        return str(self.folder.relative_to(self.home)) if self.folder.is_relative_to(self.home) else str(self.folder)

    def order(
        self,
        *,
        target: str = "",
        steps: int = 1,
        out_of_order: bool = False,
        accept_edited: bool = False,
        unfinished: Unfinished = "refuse",
    ) -> Order:
        """What is to be done with it; see `Order`."""
        return Order(
            folder=self.folder,
            database=self.name,
            app_version=self.app_version,
            target=target,
            steps=steps,
            out_of_order=out_of_order,
            accept_edited=accept_edited,
            unfinished=unfinished,
        )


def place(runtime: Runtime, name: str) -> Place:
    """Configure the runtime, which imports the app and registers its repositories, and find a database of it.

    Raises:
        NoSuchDatabase: It has none of this name.
        ConfigError, PluginErrors: See `Runtime.configure`.
    """
    known = settings_by_name(runtime.configure())
    first = next(iter(known))
    chosen = first if name == DEFAULT else name
    if chosen not in known:
        raise NoSuchDatabase(name, tuple(each for each in known if each != DEFAULT))
    belonging = dict.fromkeys((chosen, DEFAULT)) if chosen == first else (chosen,)
    app = runtime.plugins.app
    return Place(
        name=chosen,
        target=known[chosen].target(),
        folder=runtime.folder / known[chosen].migrations_path,
        home=runtime.folder,
        settings=known[chosen],
        owners=tuple(owner for each in belonging for owner in owners_of(each)),
        app_version=app.origin.version if app is not None else "",
    )


def run(place: Place, work: Callable[[Database, Place], Awaitable[T]]) -> T:
    """Open the database, have the work done, and close it."""

    async def opened() -> T:
        async with _database(place) as db:
            return await work(db, place)

    return asyncio.run(opened())


async def read(db: Database, place: Place) -> Migrations:
    """The migrations of the folder and of the database."""
    return await db.run(read_migrations, db.peewee, place.folder, place.name)


async def compare_now(db: Database, place: Place) -> Comparison:
    """How the tables differ from the models."""
    return await db.run(compare, db.peewee, place.owners)


async def compare_migrated(db: Database, place: Place) -> Comparison:
    """How the tables differ from the models once every migration is applied.

    Raises:
        PendingFirst: Some are not.
    """
    migrations = await read(db, place)
    if migrations.pending:
        raise PendingFirst(tuple(file.name for file in migrations.pending), place.name)
    return await compare_now(db, place)


def change(
    direction: Literal["down", "up"], order: Order, watch: Watch
) -> Callable[[Database, Place], Awaitable[tuple[str, ...]]]:
    """Apply or take back; returns the names of what was."""

    async def work(db: Database, place: Place) -> tuple[str, ...]:
        carry_out = applying.migrate if direction == "up" else applying.rollback
        return await carry_out(db, order, watch)

    return work


def preview(
    direction: Literal["down", "up"], order: Order
) -> Callable[[Database, Place], Awaitable[tuple[Preview, ...]]]:
    """What applying or taking back would do."""

    async def work(db: Database, place: Place) -> tuple[Preview, ...]:
        async with locked(db) as session:
            migrations: Migrations = await session.run(read_migrations, db.peewee, place.folder, place.name)
            if direction == "up" and not order.accept_edited:
                migrations.refuse_edited()
            steps = order.to_apply(migrations) if direction == "up" else order.to_revert(migrations)
            previews: tuple[Preview, ...] = await session.run(preview_steps, db.peewee, steps)
            return previews

    return work


def _database(place: Place) -> Database:
    """The database with connections for a command, and without the limits of one that serves: changes take time."""
    connect = place.settings.connect_timeout
    return Database(
        place.target,
        name=place.name,
        folder=place.home,
        pool=PoolLimits(max_open=2, acquire_timeout=connect + 5),
        server=ServerLimits(connect=connect, statement=0, query=0, application="eggycore db"),
    )
