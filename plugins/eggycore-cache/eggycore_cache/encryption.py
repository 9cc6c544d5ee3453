"""Encrypts the values that lie on servers: a backend around another one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from eggycore_cache.backend import NO_ANSWER, Backend, BackendStats, NoAnswer, Reply
from eggycore_cache.errors import PackageMissing
from eggycore_cache.fernet_keys import checked_keys

if TYPE_CHECKING:
    from eggycore_cache.access import Access

__all__ = ["EncryptedBackend"]

_COUNTER = re.compile(rb"[0-9]{1,20} *")


class EncryptedBackend:
    """Values are Fernet tokens on the server (AES-128-CBC with HMAC-SHA256); keys, and what `incr` counts, are not.

    Args:
        backend: Where the values lie.
        keys: One Fernet key, or several separated by commas: the first encrypts, all decrypt. To change keys put the
            new one first, and drop the old one when what it has encrypted has expired.
        unreadable: Called for every value that no key decrypts; it is a miss.

    Raises:
        EncryptionKeyRefused: One is not a Fernet key.
        PackageMissing: The library cryptography is not installed.
    """

    def __init__(self, backend: Backend, keys: str, *, unreadable: Callable[[], None] = lambda: None) -> None:
        parts = checked_keys(keys)
        try:
            from cryptography.fernet import Fernet, InvalidToken, MultiFernet
        except ModuleNotFoundError:
            raise PackageMissing("cryptography", "encryption", "CACHE_ENCRYPTION_KEY") from None
        self._backend = backend
        self._fernet = MultiFernet([Fernet(part) for part in parts])
        self._invalid = InvalidToken
        self._unreadable = unreadable

    @property
    def kind(self) -> Literal["memory", "memcached", "redis"]:
        """That of the backend inside."""
        return self._backend.kind

    @property
    def available(self) -> bool:
        """That of the backend inside."""
        return self._backend.available

    async def open(self) -> None:
        """Open the backend inside."""
        await self._backend.open()

    async def get(self, key: str, *, timeout: float | None = None) -> Reply:
        """The value; None also when no key decrypts it."""
        return self._decrypted(await self._backend.get(key, timeout=timeout))

    async def get_many(self, keys: Sequence[str], *, timeout: float | None = None) -> list[Reply]:
        """The values, in the order of the keys."""
        return [self._decrypted(reply) for reply in await self._backend.get_many(keys, timeout=timeout)]

    async def set(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool:
        """Keep a value, encrypted."""
        return await self._backend.set(key, self._fernet.encrypt(value), ttl, timeout=timeout)

    async def set_many(
        self, items: Mapping[str, bytes], ttl: float | None, *, timeout: float | None = None
    ) -> frozenset[str]:
        """Keep several values, encrypted."""
        encrypted = {key: self._fernet.encrypt(value) for key, value in items.items()}
        return await self._backend.set_many(encrypted, ttl, timeout=timeout)

    async def add(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        """Keep a value unless there is one, encrypted."""
        return await self._backend.add(key, self._fernet.encrypt(value), ttl, timeout=timeout)

    async def incr(self, key: str, amount: int, ttl: float | None, *, timeout: float | None = None) -> int | NoAnswer:
        """Add to a number that the server counts, which therefore is not encrypted.

        Raises:
            NotANumber: The key has a value that was set, not counted.
        """
        return await self._backend.incr(key, amount, ttl, timeout=timeout)

    async def touch(self, key: str, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        """Give a value another time to live."""
        return await self._backend.touch(key, ttl, timeout=timeout)

    async def delete(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        """Forget a value."""
        return await self._backend.delete(key, timeout=timeout)

    async def delete_many(self, keys: Sequence[str], *, timeout: float | None = None) -> int | NoAnswer:
        """Forget several values."""
        return await self._backend.delete_many(keys, timeout=timeout)

    async def exists(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        """Whether there is a value, readable or not."""
        return await self._backend.exists(key, timeout=timeout)

    async def clear_prefix(self, prefix: str, *, timeout: float | None = None) -> bool:
        """Forget every value whose key begins with this text."""
        return await self._backend.clear_prefix(prefix, timeout=timeout)

    async def ping(self) -> None:
        """Return when every server answers."""
        await self._backend.ping()

    async def stats(self) -> BackendStats:
        """What the backend inside holds."""
        return await self._backend.stats()

    def set_access(self, access: Access) -> None:
        """Reach the servers like this from now on; connections that stand stay."""
        self._backend.set_access(access)

    async def close(self) -> None:
        """Close the backend inside."""
        await self._backend.close()

    def _decrypted(self, reply: Reply) -> Reply:
        if reply is None or reply is NO_ANSWER or _COUNTER.fullmatch(reply):
            return reply
        try:
            return self._fernet.decrypt(reply)
        except self._invalid:
            self._unreadable()
            return None
