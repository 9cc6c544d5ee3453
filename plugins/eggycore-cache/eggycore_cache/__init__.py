"""eggycore-cache: bytes by key, with expiry. Importing this package loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore_cache.backend import Backend
    from eggycore_cache.errors import BadKey, BadValue, CacheClosed, ValueTooLarge
    from eggycore_cache.initializer import CacheInitializer, connect, default_config
    from eggycore_cache.service import CacheService
    from eggycore_cache.settings import CacheSettings

__version__ = "0.1.0"

_HOME = {
    "Backend": "backend",
    "BadKey": "errors",
    "BadValue": "errors",
    "CacheClosed": "errors",
    "CacheInitializer": "initializer",
    "CacheService": "service",
    "CacheSettings": "settings",
    "ValueTooLarge": "errors",
    "connect": "initializer",
    "default_config": "initializer",
}

__all__ = [
    "Backend",
    "BadKey",
    "BadValue",
    "CacheClosed",
    "CacheInitializer",
    "CacheService",
    "CacheSettings",
    "ValueTooLarge",
    "connect",
    "default_config",
]


def __getattr__(name: str) -> object:
    if (home := _HOME.get(name)) is None:
        raise AttributeError(f"module 'eggycore_cache' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"eggycore_cache.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
