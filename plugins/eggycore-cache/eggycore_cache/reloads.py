"""What a configuration that changes means for an open cache."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from eggycore import current
from eggycore.diagnostics import diagnose
from eggycore.errors import ConfigRefused
from eggycore.resources import ResourceMissing
from eggycore_cache.policies import Policy
from eggycore_cache.service import CacheService
from eggycore_cache.settings import CachePolicy, CacheSettings
from eggycore_cache.tls import TlsFileUnusable

if TYPE_CHECKING:
    from eggycore.config import Configuration
    from eggycore.types import Change

__all__ = ["check", "follow", "take_over"]


def check(change: Change) -> None:
    """Refuse a change that no open cache could follow.

    Raises:
        ConfigRefused: CACHE_URL names another cache, or a file of TLS cannot be used.
    """
    old, new = change.old[CacheSettings].target, change.new[CacheSettings].target
    if dataclasses.replace(old, user=new.user, password=new.password) != new:
        raise ConfigRefused(
            "CACHE_URL names another cache than the one that is open. A reload changes user and password only; "
            "restart to use another cache."
        )
    if new.tls is not None and any(one.key in change.keys for one in CacheSettings.__variables__ if one.contents):
        try:
            new.tls.context()
        except TlsFileUnusable as unusable:
            told = diagnose(unusable)
            raise ConfigRefused(f"{told.description} {told.cause}") from unusable


def take_over(change: Change) -> None:
    """Have the cache follow the new configuration, if it is open: else it is opened with that of the moment."""
    if not any(key.startswith("CACHE_") for key in change.keys):
        return
    try:
        cache = current().get(CacheService)
    except ResourceMissing:
        return
    follow(cache, change.new)
    if change.old[CacheSettings] != change.new[CacheSettings] or _files_changed(change):
        cache.sync_client.renew(change.new[CacheSettings])


def follow(cache: CacheService, configuration: Configuration) -> None:
    """Give an open cache its times to live, its bounds, and how it reaches its servers."""
    settings = configuration[CacheSettings]
    kinds = {name: Policy.of(kind) for name, kind in configuration.family(CachePolicy).items()}
    cache.configure(Policy.of_all(configuration[CachePolicy]), kinds)
    cache.limit(settings.max_size)
    cache.set_access(settings.access)


def _files_changed(change: Change) -> bool:
    return any(variable.key in change.keys for variable in CacheSettings.__variables__ if variable.contents)
