"""Opens the cache: as a step of a runtime, or by hand in a script."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.config.facts import in_kubernetes
from eggycore.diagnostics import diagnose
from eggycore.metrics import Registry
from eggycore.types import Initializer
from eggycore_cache import current
from eggycore_cache.errors import CacheDown
from eggycore_cache.instruments import Instruments
from eggycore_cache.memory import MemoryBackend
from eggycore_cache.policies import DEFAULT_MAX_ENTRIES, Policy
from eggycore_cache.service import CacheService
from eggycore_cache.settings import CachePolicy, CacheSettings
from eggycore_cache.sync_client import client_for

if TYPE_CHECKING:
    from eggycore_cache.backend import Backend

__all__ = ["CacheInitializer", "close", "connect", "default_config"]


def CacheInitializer(  # noqa: N802  # what the Go library calls it
    settings: CacheSettings,
    *,
    policy: CachePolicy | None = None,
    kinds: Mapping[str, CachePolicy] | None = None,
    metrics: Registry | None = None,
) -> Initializer[CacheService]:
    """The step that opens the cache and provides `CacheService`.

    Args:
        settings: Where values are kept.
        policy: How long and how many; the defaults when None.
        kinds: The same for kinds, by name.
        metrics: Where it is measured, if anywhere.
    """
    opening = partial(_opened, settings, policy or CachePolicy(), kinds or {}, metrics)
    return Initializer(name="cache", open=opening, provides=CacheService)


@asynccontextmanager
async def _opened(
    settings: CacheSettings, policy: CachePolicy, kinds: Mapping[str, CachePolicy], metrics: Registry | None
) -> AsyncIterator[CacheService]:
    cache = _cache(settings, policy, kinds, metrics)
    if cache.backend.kind == "memory" and in_kubernetes(os.environ):
        log.info("cache in memory: every replica has its own, so one may still hold what another has changed")
    try:
        await cache.open()
        if cache.backend.kind != "memory":
            await _say_how_it_is(cache, settings.target.location)
        yield cache
    finally:
        await cache.close()


async def _say_how_it_is(cache: CacheService, location: str) -> None:
    try:
        await cache.ping()
    except CacheDown as down:
        told = diagnose(down)
        note = "the cache does not answer; the app works without it, only slower"
        log.warn(note, location=location, reason=told.cause, action=told.action)
    else:
        log.info("cache open", location=location)


def default_config() -> CacheSettings:
    """The settings as they are when no variable is set."""
    return CacheSettings()


async def connect(settings: CacheSettings | None = None, *, policy: CachePolicy | None = None) -> CacheService:
    """Open a cache by hand and make it the one of `get_cache`; for scripts without a runtime. End with `close`.

    Args:
        settings: Where values are kept; `default_config()` when left out.
        policy: How long and how many; the defaults when left out.

    Raises:
        CacheUrlRefused: The URL cannot be used.
        TlsFileUnusable: A certificate or key file cannot be used.
        EncryptionKeyRefused: CACHE_ENCRYPTION_KEY is not a Fernet key.
        PackageMissing: A library is not installed that the settings need.
    """
    cache = _cache(settings or default_config(), policy or CachePolicy(), {}, None)
    await cache.open()
    current.set_cache(cache)
    return cache


async def close() -> None:
    """Close the cache of `connect` or `set_cache`, if there is one."""
    if (cache := current.set_cache(None)) is not None:
        await cache.close()


def _cache(
    settings: CacheSettings, policy: CachePolicy, kinds: Mapping[str, CachePolicy], metrics: Registry | None
) -> CacheService:
    instruments = Instruments(metrics or Registry(), settings.namespace)
    return CacheService(
        _backend(settings, policy, instruments),
        namespace=settings.namespace,
        instruments=instruments,
        policy=Policy.of_all(policy),
        kinds={name: Policy.of(kind) for name, kind in kinds.items()},
        max_factories=settings.max_factories,
        sync_client=client_for(settings),
    )


def _backend(settings: CacheSettings, policy: CachePolicy, instruments: Instruments) -> Backend:
    """Memory alone; or a server, encrypted when there is a key, with memory in front of it when asked for."""
    max_entries = policy.max_entries or DEFAULT_MAX_ENTRIES
    kind = settings.target.kind
    if kind == "memory":
        return MemoryBackend(max_entries=max_entries, max_bytes=settings.max_size, instruments=instruments)
    remote = _remote(kind, settings, instruments)
    if settings.encryption_key is not None:
        from eggycore_cache.encryption import EncryptedBackend

        remote = EncryptedBackend(remote, settings.encryption_key.reveal(), unreadable=instruments.error)
    if not settings.local:
        return remote
    from eggycore_cache.tiers import TieredBackend

    local = MemoryBackend(max_entries=max_entries, max_bytes=settings.max_size)
    return TieredBackend(local, remote, local_ttl=settings.local_ttl)


def _remote(kind: str, settings: CacheSettings, instruments: Instruments) -> Backend:
    if kind == "memcached":
        from eggycore_cache import memcached

        return memcached.from_settings(settings, instruments)
    from eggycore_cache import redis_backend

    return redis_backend.from_settings(settings, instruments)
