"""Opens the databases: as steps of a runtime, or one by hand in a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eggycore import log
from eggycore.types import Initializer
from eggycore_db import current
from eggycore_db.database import Database
from eggycore_db.databases import DEFAULT, Databases
from eggycore_db.instruments import Instruments, QueryLog
from eggycore_db.pool import PoolLimits
from eggycore_db.repository import owners_of
from eggycore_db.server import ServerLimits
from eggycore_db.settings import DatabaseSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DatabaseInitializer", "TiDBInitializer", "close", "connect", "database_of", "default_config"]

OPENING_TIME = 3600.0
"""Seconds that opening may take at most, for migrations that take long; STARTUP_TIMEOUT ends a start before that."""


def DatabaseInitializer(  # noqa: N802  # what the Go library calls it
    settings: DatabaseSettings,
    *,
    name: str = DEFAULT,
    is_default: bool = True,
    folder: Path | None = None,
    application: str = "",
    version: str = "",
    instruments: Instruments | None = None,
    databases: Databases | None = None,
    migrations: Literal["auto", "check", "off"] | None = None,
    changed: Callable[[], None] | None = None,
    only_looks: bool = False,
) -> Initializer[Database]:
    """The step that opens a database, brings its schema up to date and provides `Database`.

    Args:
        settings: Where the database is.
        name: What it is called: one of DATABASES, or "default".
        is_default: Whether it is what `runtime.get(Database)` and `get_db()` return.
        folder: The app's folder, where relative paths start; the working folder when None.
        application: The name under which the server shows its connections, when the settings have none.
        version: The app's version, kept with each migration.
        instruments: Where it is measured, if anywhere.
        databases: Where it is found by name while it is open.
        migrations: In place of what the settings say.
        changed: Called when the server can be used no more, and when it can be used again.
        only_looks: The schema is not touched; `Database.examine` says what would be done with it.
    """
    opened = partial(
        _opened,
        settings,
        name=name,
        owners=(name, DEFAULT) if is_default and name != DEFAULT else (name,),
        folder=folder or Path.cwd(),
        application=application,
        version=version,
        instruments=instruments or Instruments(),
        databases=databases if databases is not None else Databases(),
        is_default=is_default,
        migrations=migrations,
        changed=changed,
        only_looks=only_looks,
    )
    title = "database" if name == DEFAULT else f"database {name}"
    return Initializer(name=title, open=opened, provides=Database if is_default else None, timeout=OPENING_TIME)


TiDBInitializer = DatabaseInitializer
"""What the Go library calls it."""


@asynccontextmanager
async def _opened(
    settings: DatabaseSettings,
    *,
    name: str,
    owners: Sequence[str],
    folder: Path,
    application: str,
    version: str,
    instruments: Instruments,
    databases: Databases,
    is_default: bool,
    migrations: Literal["auto", "check", "off"] | None,
    changed: Callable[[], None] | None,
    only_looks: bool,
) -> AsyncIterator[Database]:
    from eggycore_db.migrations.prepare import prepare_schema, schema_findings

    database = database_of(settings, name=name, folder=folder, application=application, instruments=instruments)
    database.changed = changed
    async with database:
        instruments.watch(name, lambda: database.pools)
        prepare = partial(
            prepare_schema,
            migrations=migrations or settings.migrations,
            folder=folder / settings.migrations_path,
            auto_tables=settings.auto_tables,
            database=name,
            owners=tuple(owner for one in owners for owner in owners_of(one)),
        )
        if only_looks:
            database.findings = await schema_findings(database, **prepare.keywords)
        else:
            report = await prepare(database, app_version=version)
            log.info("database open", database=name, location=database.location, schema=str(report))
        databases.add(database)
        if is_default:
            database.family = databases.values
        try:
            yield database
        finally:
            databases.remove(database)


def default_config() -> DatabaseSettings:
    """The settings as they are when no variable is set."""
    return DatabaseSettings()


async def connect(settings: DatabaseSettings | None = None) -> Database:
    """Open a database by hand and make it the one of `get_db`; for scripts without a runtime. End with `close`.

    Args:
        settings: Where it is; `default_config()` when left out.

    Raises:
        DatabaseUnusable, DatabaseUnavailable: It cannot be opened.
    """
    database = database_of(settings or default_config())
    await database.open()
    current.set_db(database)
    return database


async def close() -> None:
    """Close the database of `connect` or `set_db`, if there is one."""
    if (database := current.set_db(None)) is not None:
        await database.close()


def database_of(
    settings: DatabaseSettings,
    *,
    name: str = DEFAULT,
    folder: Path | None = None,
    application: str = "",
    instruments: Instruments | None = None,
) -> Database:
    """The database that the settings describe, not open yet.

    Args:
        settings: Where it is, and its limits.
        name: What it is called.
        folder: Where a relative SQLite path starts; the working folder when None.
        application: The name under which the server shows its connections, when the settings have none.
        instruments: Where it is measured, if anywhere.
    """
    return Database(
        settings.target(),
        name=name,
        folder=folder,
        pool=pool_limits(settings),
        server=server_limits(settings, application),
        replicas=settings.replica_targets(),
        instruments=(instruments or Instruments()).of(name, query_log(settings)),
    )


def pool_limits(settings: DatabaseSettings) -> PoolLimits:
    """The limits of the pool, as the settings say."""
    return PoolLimits(
        max_open=settings.max_open_conns,
        max_idle=settings.max_idle_conns,
        min_open=settings.min_conns,
        lifetime=settings.conn_max_lifetime,
        idle_time=settings.conn_max_idle_time,
        idle_check=settings.idle_check_interval,
        acquire_timeout=settings.acquire_timeout,
        query_timeout=settings.query_limit,
    )


def server_limits(settings: DatabaseSettings, application: str) -> ServerLimits:
    """The limits of connections to a server, as the settings say.

    Args:
        settings: The settings.
        application: The name under which the server shows the connections, when the settings have none.
    """
    return ServerLimits(
        connect=settings.connect_timeout,
        statement=settings.statement_timeout,
        query=settings.query_limit,
        application=settings.application_name or application or "eggycore",
    )


def query_log(settings: DatabaseSettings) -> QueryLog:
    """Which queries are logged, as the settings say."""
    return QueryLog(level=settings.log_level, slow=settings.slow_query)
