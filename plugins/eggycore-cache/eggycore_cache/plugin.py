"""The door into the plugin: what it declares to the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eggycore.hookspecs import hookimpl
from eggycore_cache.settings import CacheSettings

if TYPE_CHECKING:
    from eggycore.runtime import Runtime
    from eggycore.types import HealthCheck, Initializer
    from eggycore_cache.service import CacheService


@hookimpl
def register_settings() -> type[CacheSettings]:
    """CACHE_*."""
    return CacheSettings


@hookimpl
def init_infra(runtime: Runtime) -> Initializer[CacheService]:
    """Open the cache."""
    from eggycore_cache.initializer import CacheInitializer

    return CacheInitializer(runtime.config[CacheSettings], metrics=runtime.metrics)


@hookimpl
def register_health_checks(runtime: Runtime) -> HealthCheck:
    """Whether the cache answers. Not critical: an app works without its cache, only slower."""
    from eggycore.types import HealthCheck
    from eggycore_cache.service import CacheService

    return HealthCheck(name="cache", check=lambda: runtime.get(CacheService).ping(), critical=False, timeout=1.0)
