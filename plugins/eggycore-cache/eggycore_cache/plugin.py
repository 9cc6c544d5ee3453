"""The door into the plugin: what it declares to the runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from eggycore.hookspecs import hookimpl
from eggycore_cache.settings import CachePolicy, CacheSettings

if TYPE_CHECKING:
    from eggycore.config import Settings
    from eggycore.runtime import Runtime
    from eggycore.types import Change, Control, HealthCheck, Initializer, Service
    from eggycore_cache.service import CacheService


@hookimpl
def register_settings() -> tuple[type[Settings], ...]:
    """CACHE_*."""
    return CacheSettings, CachePolicy


@hookimpl
def init_infra(runtime: Runtime) -> Initializer[CacheService]:
    """Open the cache."""
    from eggycore_cache.initializer import CacheInitializer

    def made() -> Initializer[CacheService]:
        return CacheInitializer(
            runtime.config[CacheSettings],
            policy=runtime.config[CachePolicy],
            kinds=runtime.config.family(CachePolicy),
            metrics=runtime.metrics,
        )

    return replace(made(), open=partial(_opened, runtime, made))


@asynccontextmanager
async def _opened(runtime: Runtime, made: Callable[[], Initializer[CacheService]]) -> AsyncIterator[CacheService]:
    """The cache with the settings of the moment, which may change while it is being opened."""
    from eggycore_cache.reloads import follow

    before = runtime.config
    async with made().open() as cache:
        if runtime.config is not before:
            follow(cache, runtime.config)
            cache.sync_client.renew(runtime.config[CacheSettings])
        yield cache


@hookimpl
def register_services(runtime: Runtime) -> Service | None:
    """Fill the cache before readiness, when the app has functions that do."""
    from eggycore.types import Service
    from eggycore_cache.service import CacheService
    from eggycore_cache.warm_up import functions, run_warm_up

    if not functions:
        return None

    async def run(control: Control) -> None:
        await run_warm_up(runtime.get(CacheService), control, runtime.config[CacheSettings].warm_up_timeout)

    return Service(name="cache-warm-up", run=run, requires=(CacheService,), critical=False)


@hookimpl
def register_health_checks(runtime: Runtime) -> HealthCheck:
    """Whether the cache answers. Not critical: an app works without its cache, only slower."""
    from eggycore.types import HealthCheck
    from eggycore_cache.examination import check
    from eggycore_cache.service import CacheService

    return HealthCheck(name="cache", check=lambda: check(runtime.get(CacheService)), critical=False)


@hookimpl
def check_config(change: Change) -> None:
    """Refuse a URL that names another cache: that takes a restart."""
    from eggycore_cache.reloads import check

    check(change)


@hookimpl
def config_changed(change: Change) -> None:
    """Take over other times to live, bounds, credentials, TLS files and times."""
    from eggycore_cache.reloads import take_over

    take_over(change)
