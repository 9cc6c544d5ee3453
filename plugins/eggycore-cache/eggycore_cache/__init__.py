"""eggycore-cache: values by key, with expiry, here or on servers. Importing this package loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore_cache.backend import NO_ANSWER, Backend, NoAnswer, Reply
    from eggycore_cache.cached import cached
    from eggycore_cache.current import get_cache, get_client, set_cache, set_client
    from eggycore_cache.errors import (
        BadKey,
        BadValue,
        CacheClosed,
        CacheDown,
        NoCache,
        NotANumber,
        NotSerializable,
        ValueTooLarge,
    )
    from eggycore_cache.initializer import CacheInitializer, close, connect, default_config
    from eggycore_cache.kinds import CacheKind
    from eggycore_cache.policies import Policy
    from eggycore_cache.serializers import Serializer
    from eggycore_cache.service import CacheService
    from eggycore_cache.settings import CachePolicy, CacheSettings
    from eggycore_cache.stats import CacheStats
    from eggycore_cache.warm_up import warm_up

__version__ = "0.1.0"

_HOME = {
    "Backend": "backend",
    "BadKey": "errors",
    "BadValue": "errors",
    "CacheClosed": "errors",
    "CacheDown": "errors",
    "CacheInitializer": "initializer",
    "CacheKind": "kinds",
    "CachePolicy": "settings",
    "CacheService": "service",
    "CacheSettings": "settings",
    "CacheStats": "stats",
    "NO_ANSWER": "backend",
    "NoAnswer": "backend",
    "NoCache": "errors",
    "NotANumber": "errors",
    "NotSerializable": "errors",
    "Policy": "policies",
    "Reply": "backend",
    "Serializer": "serializers",
    "ValueTooLarge": "errors",
    "cached": "cached",
    "close": "initializer",
    "connect": "initializer",
    "default_config": "initializer",
    "get_cache": "current",
    "get_client": "current",
    "set_cache": "current",
    "set_client": "current",
    "warm_up": "warm_up",
}

__all__ = [
    "Backend",
    "BadKey",
    "BadValue",
    "CacheClosed",
    "CacheDown",
    "CacheInitializer",
    "CacheKind",
    "CachePolicy",
    "CacheService",
    "CacheSettings",
    "CacheStats",
    "NO_ANSWER",
    "NoAnswer",
    "NoCache",
    "NotANumber",
    "NotSerializable",
    "Policy",
    "Reply",
    "Serializer",
    "ValueTooLarge",
    "cached",
    "close",
    "connect",
    "default_config",
    "get_cache",
    "get_client",
    "set_cache",
    "set_client",
    "warm_up",
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
