"""The door into the plugin: what it declares to the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eggycore.hookspecs import hookimpl
from eggycore_db.settings import DatabaseSettings

if TYPE_CHECKING:
    from eggycore.runtime import Runtime
    from eggycore.types import HealthCheck, Initializer
    from eggycore_db.database import Database


@hookimpl
def register_settings() -> type[DatabaseSettings]:
    """DATABASE_*."""
    return DatabaseSettings


@hookimpl
def init_infra(runtime: Runtime) -> Initializer[Database]:
    """Open the database and make the tables."""
    from eggycore_db.initializer import DatabaseInitializer

    return DatabaseInitializer(runtime.config[DatabaseSettings], folder=runtime.folder, metrics=runtime.metrics)


@hookimpl
def register_health_checks(runtime: Runtime) -> HealthCheck:
    """Whether the database answers and can be written to."""
    from eggycore.types import HealthCheck
    from eggycore_db.database import Database

    return HealthCheck(name="database", check=lambda: runtime.get(Database).check(), timeout=2.0)
