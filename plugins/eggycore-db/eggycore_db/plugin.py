"""The door into the plugin: what it declares to the runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from eggycore.hookspecs import hookimpl
from eggycore_db.settings import DatabaseNames, DatabaseSettings

if TYPE_CHECKING:
    from eggycore.runtime import Runtime
    from eggycore.types import Change, HealthCheck, Initializer
    from eggycore_db.database import Database


@hookimpl
def register_settings() -> tuple[type[DatabaseNames], type[DatabaseSettings]]:
    """DATABASES and DATABASE_*."""
    return DatabaseNames, DatabaseSettings


@hookimpl
def init_infra(runtime: Runtime) -> Iterator[Initializer[Database] | Initializer[None]]:
    """Open each database and bring its schema up to date."""
    from eggycore.types import Initializer
    from eggycore_db.databases import Databases, migrations_of, settings_by_name
    from eggycore_db.initializer import DatabaseInitializer
    from eggycore_db.instruments import Instruments

    databases = Databases()
    runtime.provide(Databases, databases)
    instruments = Instruments(runtime.metrics)
    app = runtime.plugins.app_record
    named = settings_by_name(runtime.config)
    if len(named) > 1:
        yield Initializer(name="databases", open=partial(_distinct, tuple(named.values())))
    for place, (name, settings) in enumerate(named.items()):
        made = partial(
            DatabaseInitializer,
            name=name,
            is_default=place == 0,
            folder=runtime.folder,
            application=runtime.name,
            version=app.version if app is not None else "",
            instruments=instruments,
            databases=databases,
            migrations=migrations_of(runtime.config, settings),
            changed=partial(runtime.health.look_again, _check_name(name)),
        )
        opening = partial(_opened, runtime, made, partial(_settings_now, runtime, name))
        yield replace(made(settings), open=opening)


def _settings_now(runtime: Runtime, name: str) -> DatabaseSettings:
    from eggycore_db.databases import settings_by_name

    return settings_by_name(runtime.config)[name]


@asynccontextmanager
async def _opened(
    runtime: Runtime, made: Callable[..., Initializer[Database]], settings: Callable[[], DatabaseSettings]
) -> AsyncIterator[Database]:
    """A database with the settings of the moment, which may change while it is being opened."""
    from eggycore_db.reloads import follow

    async with made(settings(), only_looks=runtime.purpose == "examine").open() as database:
        follow(database, settings())
        yield database


@asynccontextmanager
async def _distinct(settings: tuple[DatabaseSettings, ...]) -> AsyncIterator[None]:
    """Refuse two databases that are one before any is opened; a hook's own error would be told as the plugin's."""
    from eggycore_db.settings_checks import check_databases

    check_databases(settings)
    yield


@hookimpl
def register_health_checks(runtime: Runtime) -> Iterator[HealthCheck]:
    """Whether each database answers and takes writes, and how far its replicas lag behind."""
    from eggycore.types import HealthCheck
    from eggycore_db.databases import Databases, settings_by_name

    databases = runtime.get(Databases)
    for name, settings in settings_by_name(runtime.config).items():
        title = _check_name(name)
        yield HealthCheck(name=title, check=lambda name=name: databases[name].check(), timeout=2.0)  # type: ignore[misc]  # mypy finds no type for name=name
        if settings.replica_dsns is not None:
            check = partial(_check_replicas, databases, name)
            yield HealthCheck(name=f"{title}-replicas", check=check, critical=False, timeout=2.0)


def _check_name(database: str) -> str:
    from eggycore_db.databases import DEFAULT

    return "database" if database == DEFAULT else f"database-{database.replace('_', '-')}"


async def _check_replicas(databases: object, name: str) -> None:
    from eggycore_db.databases import Databases

    assert isinstance(databases, Databases)
    await databases[name].reader.check()


@hookimpl
def check_config(change: Change) -> None:
    """Refuse a DSN that names another database: that takes a restart."""
    from eggycore_db.reloads import check

    check(change)


@hookimpl
def config_changed(change: Change) -> None:
    """Use new credentials, TLS files and times for new connections, other pool sizes, and another query log."""
    from eggycore_db.reloads import take_over

    take_over(change)
