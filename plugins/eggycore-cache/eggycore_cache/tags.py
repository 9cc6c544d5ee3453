"""Tags: each has a random version in the cache, which its values carry; with another one, or none, they are gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from eggycore_cache.backend import NO_ANSWER, Backend, Reply
from eggycore_cache.envelope import VERSION_BYTES
from eggycore_cache.keys import check_key

__all__ = ["Tags"]

LEAST_TTL = 86_400.0
"""Seconds that a tag's version is kept at least; without it the values that carry it are gone, too."""


def _random_version() -> bytes:
    return os.urandom(VERSION_BYTES)


class Tags:
    """The tags of one namespace.

    Args:
        backend: Where their versions are.
        prefix: The namespace with its ":", or "".
        new_version: 8 random bytes.
    """

    def __init__(self, backend: Backend, prefix: str, *, new_version: Callable[[], bytes] = _random_version) -> None:
        self._backend = backend
        self._prefix = f"{prefix}!tag:"
        self._new_version = new_version

    def keys(self, tags: Iterable[str]) -> list[str]:
        """Under which keys their versions are.

        Raises:
            BadKey: A tag is not a text, is empty, or has a space or control character in it.
        """
        keys = []
        for tag in tags:
            check_key(tag)
            keys.append(self._prefix + tag)
        return keys

    async def read(self, tags: Sequence[str]) -> dict[str, Reply]:
        """Their versions, as far as they have one and it can be told."""
        return dict(zip(tags, await self._backend.get_many(self.keys(tags)), strict=True)) if tags else {}

    async def versions(
        self, tags: Sequence[str], known: Mapping[str, Reply], ttl: float | None
    ) -> dict[str, bytes] | None:
        """Their versions; those that have none get one. None when that cannot be told now.

        Args:
            tags: The tags.
            known: What has just been read of them.
            ttl: Seconds that the value is kept that will carry them, None for no end.
        """
        replies = dict(known)
        if unknown := [tag for tag in tags if tag not in replies]:
            replies.update(await self.read(unknown))
        versions: dict[str, bytes] = {}
        for tag in tags:
            reply = replies[tag]
            if reply is None:
                reply = await self._made(tag, ttl)
            if reply is None or reply is NO_ANSWER:
                return None
            versions[tag] = reply
        return versions

    async def invalidate(self, tags: Sequence[str]) -> bool:
        """Drop every value that carries one of them; whether the servers have confirmed that."""
        return await self._backend.delete_many(self.keys(tags)) is not NO_ANSWER

    async def _made(self, tag: str, ttl: float | None) -> Reply:
        """A new version, or the one that somebody else has made at the same time."""
        version = self._new_version()
        (key,) = self.keys([tag])
        added = await self._backend.add(key, version, None if ttl is None else max(LEAST_TTL, 2 * ttl))
        if added is NO_ANSWER:
            return NO_ANSWER
        return version if added else await self._backend.get(key)
