"""pymemcache for code that does not await: our names of keys, the same homes, and every answer waited for."""

# mypy: disable-error-code="misc,no-any-return"
# pymemcache ships no types, so its classes and what they return are of any type to mypy.

from __future__ import annotations

from pymemcache.client.base import Client, PooledClient  # type: ignore[import-untyped]  # pymemcache has no types
from pymemcache.client.hash import HashClient  # type: ignore[import-untyped]  # pymemcache has no types
from pymemcache.exceptions import MemcacheClientError  # type: ignore[import-untyped]  # pymemcache has no types

from eggycore_cache.hashing import wire_key
from eggycore_cache.keys import check_key
from eggycore_cache.memcached_protocol import authenticate
from eggycore_cache.targets import CacheTarget

__all__ = ["sync_client"]

OURS = 0
"""Flags of what this client keeps. Those of `MemcachedBackend` are never 0."""


def sync_client(
    target: CacheTarget,
    *,
    namespace: str = "",
    timeout: float = 0.5,
    connect_timeout: float = 1.0,
    connections: int = 2,
) -> PooledClient | HashClient:
    """A thread-safe pymemcache client for the servers of a cache. End with its `close`.

    It keeps bytes beside `CacheService`, under the same names on the same servers, and neither sees the values of the
    other: this client cannot know which of them have been cleared. `delete` is for both. A server that is down raises
    OSError; its keys do not move. What a key may look like, BadKey says.

    Args:
        target: The servers.
        namespace: What is put before every key, with a colon.
        timeout: Seconds in which an answer must come.
        connect_timeout: Seconds in which a connection must be there.
        connections: The most connections to each server.

    Raises:
        TlsFileUnusable: A certificate or key file cannot be used.
    """

    class OneConnection(_Connection):
        credentials = (target.user, target.password.reveal() if target.password else "")

    options = {
        "serde": _Bytes(),
        "connect_timeout": connect_timeout,
        "timeout": timeout,
        "no_delay": True,
        "key_prefix": f"{namespace}:".encode() if namespace else b"",
        "max_pool_size": connections,
        "default_noreply": False,
        "tls_context": target.tls.context() if target.tls else None,
    }
    if len(target.hosts) == 1:
        client = PooledClient(target.hosts[0], **options)
        client.client_class = OneConnection
        return client

    class Connections(_Connections):
        client_class = OneConnection

    return Connections(target.hosts, use_pooling=True, **options)


class _Bytes:
    """pymemcache's serializer: bytes as they are, and nothing of what another client has kept."""

    def serialize(self, key: object, value: object) -> tuple[bytes, int]:
        if not isinstance(value, bytes):
            raise TypeError(f"a value of type {type(value).__name__} is not bytes")
        return value, OURS

    def deserialize(self, key: object, value: bytes, flags: int) -> bytes | None:
        return value if flags == OURS else None


class _Connection(Client):
    """Gives its password, and keys the names that `MemcachedBackend` gives them."""

    credentials: tuple[str, str] = ("", "")

    def check_key(self, key: str | bytes, key_prefix: bytes) -> bytes:
        return _name(key, key_prefix)

    def _connect(self) -> None:
        super()._connect()
        user, password = self.credentials
        if user:
            self.sock.sendall(authenticate(user, password))
            if self.sock.recv(4096) != b"STORED\r\n":
                self.close()
                raise MemcacheClientError("it refused the user or the password")


class _Connections(HashClient):
    """Homes as `MemcachedBackend` finds them, and no word of a server that is down but its own.

    HashClient's own bookkeeping of dead servers answers as if there were no value, and is not thread-safe.
    """

    def _get_client(self, key: str | bytes) -> PooledClient:
        return self.clients[self.hasher.get_node(_name(key, self.key_prefix).decode())]

    def _safely_run_func(
        self, client: object, func: object, default_val: object, *args: object, **kwargs: object
    ) -> object:
        return func(*args, **kwargs)  # type: ignore[operator]  # a method of pymemcache's

    def _safely_run_set_many(self, client: PooledClient, values: object, *args: object, **kwargs: object) -> list[str]:
        return client.set_many(values, *args, **kwargs)


def _name(key: str | bytes, prefix: bytes) -> bytes:
    text = key.decode() if isinstance(key, bytes) else key
    check_key(text)
    return wire_key(f"{prefix.decode()}{text}")
