"""Opens the database: as a step of a runtime, or by hand in a script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.types import Initializer
from eggycore_db import current
from eggycore_db.database import Database
from eggycore_db.instruments import Instruments
from eggycore_db.repository import initialize_all_tables
from eggycore_db.settings import DatabaseSettings

if TYPE_CHECKING:
    from pathlib import Path

    from eggycore.metrics import Registry

__all__ = ["DatabaseInitializer", "close", "connect", "default_config"]


def DatabaseInitializer(  # noqa: N802  # what the Go library calls it
    settings: DatabaseSettings, *, folder: Path | None = None, metrics: Registry | None = None
) -> Initializer[Database]:
    """The step that opens the database, makes the tables of registered repositories and provides `Database`.

    Args:
        settings: Where the database is.
        folder: What a relative path starts from; the working folder when None.
        metrics: Where it is measured, if anywhere.
    """
    return Initializer(name="database", open=partial(_opened, settings, folder, metrics), provides=Database)


@asynccontextmanager
async def _opened(settings: DatabaseSettings, folder: Path | None, metrics: Registry | None) -> AsyncIterator[Database]:
    async with _database(settings, folder, metrics) as database:
        tables = await initialize_all_tables(database)
        log.info("database open", location=database.location, tables=len(tables))
        yield database


def default_config() -> DatabaseSettings:
    """The settings as they are when no variable is set."""
    return DatabaseSettings()


async def connect(settings: DatabaseSettings | None = None) -> Database:
    """Open a database by hand and make it the one of `get_db`; for scripts without a runtime. End with `close`.

    Args:
        settings: Where it is; `default_config()` when left out.

    Raises:
        DatabaseUnusable: It cannot be opened.
    """
    database = _database(settings or default_config())
    await database.open()
    current.set_db(database)
    return database


async def close() -> None:
    """Close the database of `connect` or `set_db`, if there is one."""
    if (database := current.set_db(None)) is not None:
        await database.close()


def _database(settings: DatabaseSettings, folder: Path | None = None, metrics: Registry | None = None) -> Database:
    return Database(
        settings.dsn.reveal(),
        folder=folder,
        max_open_conns=settings.max_open_conns,
        max_idle_conns=settings.max_idle_conns,
        instruments=Instruments(metrics, "default") if metrics is not None else None,
    )
