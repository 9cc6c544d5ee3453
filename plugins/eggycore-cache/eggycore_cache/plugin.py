"""The door into the plugin: what it declares to the runtime."""

from __future__ import annotations

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

    return CacheInitializer(
        runtime.config[CacheSettings],
        policy=runtime.config[CachePolicy],
        kinds=runtime.config.family(CachePolicy),
        metrics=runtime.metrics,
    )


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
def config_changed(change: Change) -> None:
    """Take over other times to live, bounds and credentials."""
    from eggycore import current
    from eggycore_cache.policies import Policy
    from eggycore_cache.service import CacheService

    if not any(key.startswith("CACHE_") for key in change.keys):
        return
    cache = current().get(CacheService)
    kinds = {name: Policy.of(kind) for name, kind in change.new.family(CachePolicy).items()}
    cache.configure(Policy.of_all(change.new[CachePolicy]), kinds)
    if "CACHE_PASSWORD" in change.keys:
        target = change.new[CacheSettings].target
        cache.set_credentials(target.user, target.password)
        cache.sync_client.renew(change.new[CacheSettings])
