"""Opens the cache: as a step of a runtime, or by hand in a script."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.config.facts import in_kubernetes
from eggycore.types import Initializer
from eggycore_cache.instruments import Instruments
from eggycore_cache.memory import MemoryBackend
from eggycore_cache.service import CacheService
from eggycore_cache.settings import CacheSettings

if TYPE_CHECKING:
    from eggycore.metrics import Registry

__all__ = ["CacheInitializer", "connect", "default_config"]


def CacheInitializer(  # noqa: N802  # what the Go library calls it
    settings: CacheSettings, *, metrics: Registry | None = None
) -> Initializer[CacheService]:
    """The step that opens the cache and provides `CacheService`.

    Args:
        settings: Where values are kept, how many, and how long.
        metrics: Where it is measured, if anywhere.
    """
    return Initializer(name="cache", open=partial(_opened, settings, metrics), provides=CacheService)


@asynccontextmanager
async def _opened(settings: CacheSettings, metrics: Registry | None) -> AsyncIterator[CacheService]:
    if in_kubernetes(os.environ):
        log.info("cache in memory: every replica has its own, so one may still hold what another has changed")
    cache = _cache(settings, metrics)
    try:
        yield cache
    finally:
        await cache.close()


def default_config() -> CacheSettings:
    """The settings as they are when no variable is set."""
    return CacheSettings()


async def connect(settings: CacheSettings | None = None) -> CacheService:
    """Open a cache by hand, for scripts without a runtime. End with its `close`.

    Args:
        settings: Where values are kept; `default_config()` when left out.
    """
    return _cache(settings or default_config())


def _cache(settings: CacheSettings, metrics: Registry | None = None) -> CacheService:
    instruments = Instruments(metrics, settings.namespace) if metrics is not None else None
    backend = MemoryBackend(max_entries=settings.max_entries, max_bytes=settings.max_size, instruments=instruments)
    return CacheService(backend, namespace=settings.namespace, ttl=settings.ttl, instruments=instruments)
