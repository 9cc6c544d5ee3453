"""Which cache is meant here: the one set by hand, or that of the current runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eggycore_cache.errors import NoCache

if TYPE_CHECKING:
    from eggycore_cache.service import CacheService

__all__ = ["get_cache", "get_client", "set_cache", "set_client"]

_cache_set_by_hand: CacheService | None = None
_client_set_by_hand: Any = None


def get_cache() -> CacheService:
    """The cache that is meant here: the one of `set_cache` or `connect`, else the current runtime's.

    Raises:
        NoCache: There is none.
    """
    if (cache := _cache_set_by_hand or _of_the_runtime()) is None:
        raise NoCache
    return cache


def set_cache(cache: CacheService | None) -> CacheService | None:
    """Make `cache` what `get_cache` returns in this process, or forget it with None. For scripts without a runtime.

    Returns:
        The one that was set before.
    """
    global _cache_set_by_hand
    before, _cache_set_by_hand = _cache_set_by_hand, cache
    return before


def get_client() -> Any:
    """A client of the cache's servers for code that does not await: pymemcache's, or redis-py's.

    Made when it is first asked for, usable from any thread, closed with the cache. On Memcached its values stand
    beside those of `CacheService`: neither sees the other's. On Redis they are the same, under "<namespace>:<key>".

    Raises:
        NoCache: There is no cache here.
        NoSyncClient: The cache is in the memory of this process.
    """
    return get_cache().sync_client.get() if _client_set_by_hand is None else _client_set_by_hand


def set_client(client: Any) -> Any:
    """Make `client` what `get_client` returns in this process, or forget it with None. Whoever sets it closes it.

    Returns:
        The one that was set before.
    """
    global _client_set_by_hand
    before, _client_set_by_hand = _client_set_by_hand, client
    return before


def _of_the_runtime() -> CacheService | None:
    from eggycore import current
    from eggycore.errors import EggycoreError
    from eggycore_cache.service import CacheService

    try:
        return current().get(CacheService)
    except EggycoreError:  # no runtime here, or one that has no cache open
        return None
