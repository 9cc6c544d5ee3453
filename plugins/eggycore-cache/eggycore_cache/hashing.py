"""Which server keeps a key, and what a key is called there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256

from pymemcache.client.rendezvous import RendezvousHash  # type: ignore[import-untyped]  # it ships no types

__all__ = ["MARK", "Ring", "wire_key"]

MARK = "!"
"""In names that this package makes and no plain key has, so that a caller's key can never be one of them."""

HEAD = 100
"""Characters of a hashed key that stay readable."""

REMEMBERED = 50_000
"""Keys whose servers are remembered: murmur in Python takes microseconds for each server."""

# Memcached takes 250 bytes without spaces and control characters; one of them is left for the mark of a guest.
_PLAIN = re.compile(r"[\x22-\x7e]{1,249}")
_UNREADABLE = re.compile(r"[^\x22-\x7e]")


def wire_key(key: str) -> bytes:
    """What a key is called on a Memcached server: itself, or its readable head and its sha256 where it cannot be.

    Example:
        >>> wire_key("app:user:7")
        b'app:user:7'
        >>> wire_key("app:Jürgen")[:20]
        b'app:J_rgen!776d822b6'
    """
    if _PLAIN.fullmatch(key):
        return key.encode()
    head = _UNREADABLE.sub("_", key[:HEAD])
    return f"{head}{MARK}{sha256(key.encode()).hexdigest()}".encode()


class Ring:
    """Rendezvous hashing, the same as pymemcache's: a server that goes moves its own keys and no others.

    Args:
        servers: Names of the servers ("host:port"), in any order.
    """

    def __init__(self, servers: Sequence[str]) -> None:
        self._servers = tuple(servers)
        self._score: Callable[[str], int] = RendezvousHash().hash_function
        self.order: Callable[[bytes], tuple[int, ...]] = lru_cache(maxsize=REMEMBERED)(self._order)
        """The servers of a key by their index: its home, the one that keeps it while that is away, and so on."""

    def _order(self, wire: bytes) -> tuple[int, ...]:
        key = wire.decode()
        scores = [(self._score(f"{server}-{key}"), server, index) for index, server in enumerate(self._servers)]
        return tuple(index for _, _, index in sorted(scores, reverse=True))
