"""The libraries' own clients, for code that does not await: pymemcache's, or redis-py's."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from eggycore_cache.errors import CacheClosed, NoSyncClient

if TYPE_CHECKING:
    from eggycore_cache.settings import CacheSettings
    from eggycore_cache.targets import CacheTarget

__all__ = ["SyncClient", "client_for"]


MOST_CONNECTIONS = 64
"""To each Memcached server. pymemcache's pool raises for one thread more instead of letting it wait."""


class SyncClient:
    """The client of one cache, made when it is first asked for. Usable from any thread.

    Args:
        make: Makes it; None when there is no server.
    """

    def __init__(self, make: Callable[[], Any] | None) -> None:
        self._make = make
        self._lock = Lock()
        self._client: Any = None
        self._before: Any = None
        self._closed = False

    def get(self) -> Any:
        """The client.

        Raises:
            NoSyncClient: The cache is in the memory of this process.
            CacheClosed: It is closed.
        """
        with self._lock:
            if self._closed:
                raise CacheClosed
            if self._client is None:
                if self._make is None:
                    raise NoSyncClient
                self._client = self._make()
            return self._client

    def renew(self, settings: CacheSettings) -> None:
        """Give who asks from now on a client with the password of these settings.

        The one before stays open until the next renewal: somebody may be using it.
        """
        with self._lock:
            leaving, self._before, self._client = self._before, self._client, None
            self._make = _maker(settings)
        if leaving is not None:
            leaving.close()

    def close(self) -> None:
        """Close its connections. Idempotent."""
        with self._lock:
            self._closed = True
            clients = [client for client in (self._client, self._before) if client is not None]
            self._client = self._before = None
        for client in clients:
            client.close()


def client_for(settings: CacheSettings) -> SyncClient:
    """The client for the servers that the settings name."""
    return SyncClient(_maker(settings))


def _maker(settings: CacheSettings) -> Callable[[], Any] | None:
    match settings.target.kind:
        case "memory":
            return None
        case "memcached":
            return lambda: _memcached(settings)
        case "redis":
            return lambda: _redis(settings)


def _memcached(settings: CacheSettings) -> Any:
    from eggycore_cache.memcached_sync import sync_client

    return sync_client(
        settings.target,
        namespace=settings.namespace,
        timeout=settings.timeout,
        connect_timeout=settings.connect_timeout,
        connections=MOST_CONNECTIONS,
    )


def _redis(settings: CacheSettings) -> Any:
    import redis
    from redis import cluster, sentinel

    # These have no types.
    node: Any = cluster.ClusterNode
    sentinels: Any = sentinel.Sentinel
    target = settings.target
    options = _credentials(target) | {
        "socket_timeout": settings.timeout,
        "socket_connect_timeout": settings.connect_timeout,
    }
    if target.cluster:
        return cluster.RedisCluster(startup_nodes=[node(*host) for host in target.hosts], **options)
    if not target.sentinel_master:
        (host, port) = target.hosts[0]
        return redis.Redis(host=host, port=port, db=target.db, **options)
    password = target.sentinel_password
    own = {"username": target.sentinel_user or None, "password": password.reveal() if password else None}
    watching = sentinels(list(target.hosts), sentinel_kwargs=options | own, db=target.db, **options)
    return watching.master_for(target.sentinel_master)


def _credentials(target: CacheTarget) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": target.user or None,
        "password": target.password.reveal() if target.password else None,
    }
    if (tls := target.tls) is not None:
        verified = tls.mode == "verify-full"
        options |= {
            "ssl": True,
            "ssl_cert_reqs": "required" if verified else "none",
            "ssl_check_hostname": verified,
            "ssl_ca_certs": str(tls.ca) if tls.ca else None,
            "ssl_certfile": str(tls.certificate) if tls.certificate else None,
            "ssl_keyfile": str(tls.key) if tls.key else None,
        }
    return options
