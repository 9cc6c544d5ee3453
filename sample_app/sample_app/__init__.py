"""The sample app of eggycore: forms over HTTP and gRPC, kept in the database, read through the cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from eggycore import Config, HealthCheck, Initializer, hookimpl
from eggycore_cache import CacheService
from eggycore_db import Database
from sample_app.forms import Forms
from sample_app.http_api import add_routes
from sample_app.settings import FormsSettings

if TYPE_CHECKING:
    from eggycore import Runtime


@hookimpl
def register_settings() -> type[FormsSettings]:
    """FORMS_*."""
    return FormsSettings


@hookimpl
def init_infra(runtime: Runtime) -> Initializer[Forms]:
    """Provide `Forms` to the handlers once database and cache are open."""

    @asynccontextmanager
    async def open_forms() -> AsyncIterator[Forms]:
        yield Forms(
            runtime.get(Database), runtime.get(CacheService), lambda: runtime.config[FormsSettings], runtime.metrics
        )

    return Initializer(name="forms", open=open_forms, provides=Forms, requires=(Database, CacheService))


@hookimpl
def register_services(runtime: Runtime) -> None:
    """Serve forms over HTTP, and over gRPC unless that is switched off."""
    add_routes(runtime.http)
    if runtime.config[Config].enable_business_grpc:
        from sample_app.grpc_api import FormsService, add_FormsServicer_to_server

        runtime.grpc.add(add_FormsServicer_to_server, FormsService)


@hookimpl
def register_health_checks(runtime: Runtime) -> HealthCheck:
    """Whether forms can be read."""
    return HealthCheck(name="forms", check=lambda: runtime.get(Forms).check())
