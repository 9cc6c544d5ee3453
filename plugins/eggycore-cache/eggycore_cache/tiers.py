"""Two tiers: copies in this process, for a moment, in front of a server's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from eggycore_cache.backend import NO_ANSWER, Backend, BackendStats, NoAnswer, Reply
from eggycore_cache.memory import MemoryBackend

if TYPE_CHECKING:
    from eggycore_cache.access import Access

__all__ = ["TieredBackend"]

_Answer = TypeVar("_Answer")


class _Claim:
    """The right to leave copies of keys, from when they are asked for until they are changed or claimed anew."""

    def __init__(self, claims: dict[str, _Claim], keys: Iterable[str]) -> None:
        self._claims = claims
        self._keys = tuple(keys)

    def __enter__(self) -> _Claim:
        self._claims.update(dict.fromkeys(self._keys, self))
        return self

    def __exit__(self, *exc: object) -> None:
        for key in self.granted():
            del self._claims[key]

    def granted(self) -> list[str]:
        """The keys that are still claimed here."""
        return [key for key in self._keys if self._claims.get(key) is self]


class TieredBackend:
    """A backend around another one, with copies of what was read and written here.

    A copy is used for `local_ttl` seconds at most: so long may what another process has changed stay unseen, and a
    value that was read shortly before its end outlive it. What this process changes, it sees at once.

    Args:
        local: Where the copies are.
        remote: Where the values are.
        local_ttl: Seconds, above 0.
    """

    def __init__(self, local: MemoryBackend, remote: Backend, *, local_ttl: float) -> None:
        self.local = local
        self._remote = remote
        self._local_ttl = local_ttl
        self._claims: dict[str, _Claim] = {}

    @property
    def kind(self) -> Literal["memory", "memcached", "redis"]:
        """That of the remote backend."""
        return self._remote.kind

    @property
    def available(self) -> bool:
        """That of the remote backend."""
        return self._remote.available

    async def open(self) -> None:
        """Open the remote backend."""
        await self._remote.open()

    async def get(self, key: str, *, timeout: float | None = None) -> Reply:
        """The copy, else the value."""
        if (copy := self.local.get_now(key)) is not None:
            return copy
        with _Claim(self._claims, [key]) as claim:
            reply = await self._remote.get(key, timeout=timeout)
            if claim.granted():
                await self._copy(key, reply)
        return reply

    async def get_many(self, keys: Sequence[str], *, timeout: float | None = None) -> list[Reply]:
        """The copies, and the values of the keys that have none."""
        known: dict[str, Reply] = {key: self.local.get_now(key) for key in keys}
        missing = [key for key, copy in known.items() if copy is None]
        if missing:
            with _Claim(self._claims, missing) as claim:
                known.update(zip(missing, await self._remote.get_many(missing, timeout=timeout), strict=True))
                for key in claim.granted():
                    await self._copy(key, known[key])
        return [known[key] for key in keys]

    async def set(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool:
        """Keep a value, and a copy of it also when no server has confirmed that."""
        return not await self.set_many({key: value}, ttl, timeout=timeout)

    async def set_many(
        self, items: Mapping[str, bytes], ttl: float | None, *, timeout: float | None = None
    ) -> frozenset[str]:
        """Keep several values, and copies of them."""
        await self._forget(items)
        with _Claim(self._claims, items) as claim:
            unconfirmed = await self._remote.set_many(items, ttl, timeout=timeout)
            untouched = claim.granted()
        await self._forget(items)  # what was read meanwhile may be older
        for key in untouched:
            await self._copy(key, items[key], ttl)
        return unconfirmed

    async def add(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        """Keep a value unless the server has one."""
        await self._forget([key])
        return await self._changed([key], await self._remote.add(key, value, ttl, timeout=timeout))

    async def incr(self, key: str, amount: int, ttl: float | None, *, timeout: float | None = None) -> int | NoAnswer:
        """Add to a number on the server."""
        await self._forget([key])
        return await self._changed([key], await self._remote.incr(key, amount, ttl, timeout=timeout))

    async def touch(self, key: str, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        """Give the server's value another time to live."""
        await self._forget([key])
        return await self._changed([key], await self._remote.touch(key, ttl, timeout=timeout))

    async def delete(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        """Forget the copy and the value; whether there was a value."""
        await self._forget([key])
        return await self._changed([key], await self._remote.delete(key, timeout=timeout))

    async def delete_many(self, keys: Sequence[str], *, timeout: float | None = None) -> int | NoAnswer:
        """Forget the copies and the values; how many values there were."""
        await self._forget(keys)
        return await self._changed(keys, await self._remote.delete_many(keys, timeout=timeout))

    async def exists(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        """Whether there is a copy or a value."""
        return await self.local.exists(key) or await self._remote.exists(key, timeout=timeout)

    async def clear_prefix(self, prefix: str, *, timeout: float | None = None) -> bool:
        """Forget every copy and every value whose key begins with this text."""
        await self._forget_prefix(prefix)
        cleared = await self._remote.clear_prefix(prefix, timeout=timeout)
        await self._forget_prefix(prefix)
        return cleared

    async def ping(self) -> None:
        """Return when every server answers."""
        await self._remote.ping()

    async def stats(self) -> BackendStats:
        """What the servers hold."""
        return await self._remote.stats()

    def set_access(self, access: Access) -> None:
        """Reach the servers like this from now on; connections that stand stay."""
        self._remote.set_access(access)

    async def close(self) -> None:
        """Close both."""
        await self.local.close()
        await self._remote.close()

    async def _copy(self, key: str, reply: Reply, ttl: float | None = None) -> None:
        if reply is not None and reply is not NO_ANSWER and self.local.takes(key, reply):
            await self.local.set(key, reply, self._local_ttl if ttl is None else min(ttl, self._local_ttl))

    async def _changed(self, keys: Sequence[str], answer: _Answer) -> _Answer:
        """Forget again what somebody may have read while the change was on its way."""
        await self._forget(keys)
        return answer

    async def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._claims.pop(key, None)
            await self.local.delete(key)

    async def _forget_prefix(self, prefix: str) -> None:
        for key in [key for key in self._claims if key.startswith(prefix)]:
            del self._claims[key]
        await self.local.clear_prefix(prefix)
