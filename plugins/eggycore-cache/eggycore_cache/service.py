"""`CacheService`: values by key, with expiry, whatever keeps them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from eggycore.metrics import Registry
from eggycore_cache.backend import Backend, Reply
from eggycore_cache.errors import BadValue, CacheDown
from eggycore_cache.flights import Flights
from eggycore_cache.instruments import Instruments
from eggycore_cache.keys import NAMESPACE, check_key
from eggycore_cache.kinds import CacheKind, Kinds, MakeOptions
from eggycore_cache.memory import MemoryBackend
from eggycore_cache.outcomes import Outcomes
from eggycore_cache.policies import Policy, checked_ttl
from eggycore_cache.stats import CacheStats, stats_of
from eggycore_cache.sync_client import SyncClient
from eggycore_cache.tags import Tags
from eggycore_cache.tiers import TieredBackend
from eggycore_cache.values import Values

if TYPE_CHECKING:
    from eggycore.types import Finding
    from eggycore_cache.access import Access
    from eggycore_cache.serializers import SerializerChoice

__all__ = ["CacheService"]

T = TypeVar("T")


class CacheService:
    """A cache. Its methods may be called by any number of tasks of its event loop.

    Keys are texts without spaces and control characters; values are bytes. Anything may be gone at any moment. A
    server that does not answer is a miss: `get` says None, `set` and `delete` say False. With `strict` it raises
    `CacheDown` instead, which a request answers with 503. `timeout` is in seconds, None for CACHE_TIMEOUT.

    Args:
        backend: What keeps the values.
        namespace: Put before every key, so that several apps can share a server: letters, digits, ".", "_", "-".
        ttl: Seconds that a value is kept unless the code says otherwise; None for no end.
        instruments: Where hits and misses are counted.
        strict: What calls do that do not say it themselves.
        policy: How typed values are kept unless the code says otherwise; its ttl is used when `ttl` is None.
        kinds: What settings say about kinds, by name; it wins over the code.
        max_factories: How many factories of `get_or_set` run at once while the cache does not answer.
        sync_client: What `get_client` gives to code that does not await; none when left out.
        wall_clock: Seconds since the epoch.

    Raises:
        ValueError: The namespace has other characters, or the ttl is not above 0.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        namespace: str = "",
        ttl: float | None = None,
        instruments: Instruments | None = None,
        strict: bool = False,
        policy: Policy | None = None,
        kinds: Mapping[str, Policy] | None = None,
        max_factories: int = 10,
        sync_client: SyncClient | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if not NAMESPACE.fullmatch(namespace):
            raise ValueError(f"namespace {namespace!r} is not made of at most 64 letters, digits and . _ -")
        self.backend = backend
        self.sync_client = sync_client or SyncClient(None)
        self.prefix = f"{namespace}:" if namespace else ""
        self._instruments = instruments or Instruments(Registry(), namespace)
        self.outcomes = Outcomes(self._instruments, strict=strict)
        self._near, self._near_hit = _near(backend, self._instruments)
        self.tags = Tags(backend, self.prefix)
        self.flights = Flights(max_factories=max_factories, observe=self._instruments.factory_seconds.observe)
        self.values = Values(
            backend,
            near=self._near,
            near_hit=self._near_hit,
            tags=self.tags,
            instruments=self._instruments,
            wall_clock=wall_clock,
        )
        self._kinds = Kinds(self, self._near)
        self.configure(Policy(ttl=ttl).over(policy or Policy()), kinds or {})

    @property
    def available(self) -> bool:
        """Whether at least one server may be asked now."""
        return self.backend.available

    async def get(self, key: str, *, timeout: float | None = None, strict: bool | None = None) -> bytes | None:
        """The value, or None when there is none.

        Raises:
            BadKey: The key is not a text, is empty, or has a space or control character in it.
            CacheDown: Strict, and the server does not answer.
        """
        check_key(key)
        full = self.prefix + key
        if self._near is not None and (value := self._near.get_now(full)) is not None:
            self._near_hit()
            return value
        return self.outcomes.counted(await self.backend.get(full, timeout=timeout), strict)

    async def lookup(self, key: str, *, timeout: float | None = None) -> Reply:
        """As `get`, but `NO_ANSWER` when the server does not answer: a miss is None."""
        reply = await self.backend.get(self.full(key), timeout=timeout)
        self.outcomes.counted(reply, strict=False)
        return reply

    async def get_many(
        self, keys: Iterable[str], *, timeout: float | None = None, strict: bool | None = None
    ) -> dict[str, bytes]:
        """The values that are there, by key.

        Raises:
            BadKey: As in `get`.
            CacheDown: Strict, and a server does not answer.
        """
        fulls = {key: self.full(key) for key in keys}
        found: dict[str, bytes] = {}
        if self._near is not None:
            for key, full in fulls.items():
                if (copy := self._near.get_now(full)) is not None:
                    self._near_hit()
                    found[key] = copy
        missing = [key for key in fulls if key not in found]
        replies = await self.backend.get_many([fulls[key] for key in missing], timeout=timeout)
        for key, reply in zip(missing, replies, strict=True):
            if (value := self.outcomes.counted(reply, strict)) is not None:
                found[key] = value
        return {key: found[key] for key in fulls if key in found}

    async def set(
        self,
        key: str,
        value: bytes,
        ttl: float | None = None,
        *,
        timeout: float | None = None,
        strict: bool | None = None,
    ) -> bool:
        """Keep a value in place of what was there; whether a server has confirmed that.

        Args:
            key: Its key.
            value: Bytes.
            ttl: Seconds to keep it, above 0; `math.inf` for no end; None for the cache's default.
            timeout: Seconds for the server's answer.
            strict: Whether no answer is an error.

        Raises:
            BadKey: As in `get`.
            BadValue: The value is not bytes.
            ValueTooLarge: It does not fit into the cache.
            ValueError: The ttl is not above 0.
            CacheDown: Strict, and it was not confirmed.
        """
        full = self._changing(key, value)
        kept = await self.backend.set(full, value, self._ttl_of(ttl), timeout=timeout)
        return self.outcomes.told(kept, failed=not kept, strict=strict)

    async def set_many(
        self,
        items: Mapping[str, bytes],
        ttl: float | None = None,
        *,
        timeout: float | None = None,
        strict: bool | None = None,
    ) -> bool:
        """Keep several values; whether all were confirmed. Arguments and errors are those of `set`."""
        fulls = {self._changing(key, value): value for key, value in items.items()}
        unconfirmed = await self.backend.set_many(fulls, self._ttl_of(ttl), timeout=timeout)
        return self.outcomes.told(not unconfirmed, failed=bool(unconfirmed), strict=strict)

    async def add(
        self,
        key: str,
        value: bytes,
        ttl: float | None = None,
        *,
        timeout: float | None = None,
        strict: bool | None = None,
    ) -> bool:
        """Keep a value unless there is one; whether it was kept. Arguments and errors are those of `set`."""
        full = self._changing(key, value)
        return self.outcomes.answered(
            await self.backend.add(full, value, self._ttl_of(ttl), timeout=timeout), strict, False
        )

    async def incr(
        self,
        key: str,
        amount: int = 1,
        ttl: float | None = None,
        *,
        timeout: float | None = None,
        strict: bool | None = None,
    ) -> int | None:
        """Add to a whole number and return it, None when the server does not answer.

        Args:
            key: Its key. Without a value it starts at 0, with this ttl; the ttl of one that has a value stays.
            amount: May be negative; the number never falls below 0.
            ttl: As in `set`.
            timeout: As in `set`.
            strict: As in `set`.

        Raises:
            BadKey: As in `get`.
            NotANumber: What is kept is no whole number.
            ValueError: The ttl is not above 0.
            CacheDown: Strict, and the server does not answer.
        """
        reply = await self.backend.incr(self.full(key), amount, self._ttl_of(ttl), timeout=timeout)
        return self.outcomes.answered(reply, strict, None)

    async def touch(
        self, key: str, ttl: float | None = None, *, timeout: float | None = None, strict: bool | None = None
    ) -> bool:
        """Give a value another time to live, from now; whether there is one. Arguments and errors as in `set`."""
        return self.outcomes.answered(
            await self.backend.touch(self.full(key), self._ttl_of(ttl), timeout=timeout), strict, False
        )

    async def delete(self, key: str, *, timeout: float | None = None, strict: bool | None = None) -> bool:
        """Forget a value, also one that is being made here; whether there was one.

        What another process makes of it at the moment is kept there: give such values a tag, and `invalidate` that.

        Raises:
            BadKey: As in `get`.
            CacheDown: Strict, and the server does not answer.
        """
        return self.outcomes.answered(await self.backend.delete(self._changing(key), timeout=timeout), strict, False)

    async def delete_many(
        self, keys: Iterable[str], *, timeout: float | None = None, strict: bool | None = None
    ) -> int:
        """Forget several values; how many there were, 0 when a server does not answer. Errors are those of `delete`."""
        fulls = [self._changing(key) for key in keys]
        return self.outcomes.answered(await self.backend.delete_many(fulls, timeout=timeout), strict, 0)

    async def exists(self, key: str, *, timeout: float | None = None, strict: bool | None = None) -> bool:
        """Whether there is a value. Counts neither as a hit nor as a use.

        Raises:
            BadKey: As in `get`.
            CacheDown: Strict, and the server does not answer.
        """
        return self.outcomes.answered(await self.backend.exists(self.full(key), timeout=timeout), strict, False)

    async def clear_prefix(self, prefix: str, *, timeout: float | None = None, strict: bool | None = None) -> bool:
        """Forget every value whose key begins with this text ("user:"), "" for all of the namespace.

        Returns:
            Whether all servers have confirmed that.

        Raises:
            BadKey: The text has a space or control character in it.
            CacheDown: Strict, and a server has not confirmed it.
        """
        full = self.full(prefix) if prefix else self.prefix
        self.flights.outdate_prefix(full)
        cleared = await self.backend.clear_prefix(full, timeout=timeout)
        return self.outcomes.told(cleared, failed=not cleared, strict=strict)

    async def invalidate(self, *tags: str, strict: bool | None = None) -> bool:
        """Drop every typed value that carries one of these tags, also one that is being made now, in every process.

        Who waits for it elsewhere still gets it; it is not kept.

        Returns:
            Whether the servers have confirmed that.

        Raises:
            BadKey: A tag is not a text, is empty, or has a space or control character in it.
            CacheDown: Strict, and a server has not confirmed it.
        """
        self.flights.outdate_tags(tags)
        done = await self.tags.invalidate(tags)
        return self.outcomes.told(done, failed=not done, strict=strict)

    @overload
    async def get_or_set(
        self, key: str, factory: Callable[[], Awaitable[T]], ttl: float | None = None, **options: Unpack[MakeOptions]
    ) -> T: ...

    @overload
    async def get_or_set(
        self, key: str, factory: Callable[[], T], ttl: float | None = None, **options: Unpack[MakeOptions]
    ) -> T: ...

    async def get_or_set(
        self, key: str, factory: Callable[[], Any], ttl: float | None = None, **options: Unpack[MakeOptions]
    ) -> Any:
        """The typed value of the cache, else the one that the factory makes. See `CacheKind.get_or_set`.

        What it keeps has a header of its own: read it with `get_or_set` or a kind, not with `get`.
        """
        return await self._kinds.nameless.get_or_set(key, factory, ttl, **options)

    def kind(
        self,
        name: str,
        *,
        ttl: float | None = None,
        stale: float | None = None,
        max_entries: int | None = None,
        serializer: SerializerChoice | None = None,
        tags: Sequence[str] | None = None,
    ) -> CacheKind[Any]:
        """Typed values under keys that begin with "<name>:", kept by a policy of their own.

        The same object every time for a name; what is said here counts from now on, what settings say
        (CACHE_KINDS, CACHE_FORMS_TTL) wins over it.

        Args:
            name: Letters, digits, ".", "_", "-".
            ttl: Seconds that a value is kept; `math.inf` for no end.
            stale: Seconds after that in which it is still served while a new one is made.
            max_entries: The most values of the kind in this process (the local tier, or all when in memory).
            serializer: "json" (the default), "raw", "msgpack" or one of your own.
            tags: Tags that every value of the kind carries.

        Raises:
            ValueError: The name has other characters or is empty, or a number is out of range.
        """
        said = Policy(ttl=ttl, stale=stale, max_entries=max_entries)
        return self._kinds.get(name, said, serializer, tags)

    def configure(self, policy: Policy, kinds: Mapping[str, Policy]) -> None:
        """Take over what settings say about all values and about kinds, in place of what they said before."""
        self._ttl = checked_ttl(policy.ttl)
        if self._near is not None and policy.max_entries is not None:
            self._near.limit(max_entries=policy.max_entries)
        self._kinds.configure(policy, kinds)

    async def open(self) -> None:
        """Connect, as far as that is possible now; a server that is down is no error."""
        await self.backend.open()

    def limit(self, max_bytes: int) -> None:
        """Keep at most so many bytes of keys and values in this process, if any are kept here."""
        if self._near is not None:
            self._near.limit(max_bytes=max_bytes)

    def set_access(self, access: Access) -> None:
        """Reach the servers like this from now on; connections that stand stay."""
        self.backend.set_access(access)

    async def ping(self) -> None:
        """Return when the cache answers.

        Raises:
            CacheDown: A server does not.
            CacheClosed: It is closed.
        """
        try:
            await self.backend.ping()
        finally:
            await self.stats()

    async def stats(self) -> CacheStats:
        """What was asked in this process since the start, and what the cache holds now."""
        holds = await self.backend.stats()
        self._instruments.observe(holds)
        return stats_of(self._instruments, holds)

    async def examine(self, *, replicas: int) -> Iterable[Finding]:
        """Ask every server, and say what `eggycore doctor` shows."""
        from eggycore_cache.examination import findings

        down = None
        try:
            await self.backend.ping()
        except CacheDown as error:
            down = error
        return findings(self.backend.kind, await self.stats(), down, replicas)

    async def close(self) -> None:
        """End what is being made, and let go of the backend. Idempotent."""
        await self.flights.close()
        self.sync_client.close()
        await self.backend.close()

    def full(self, key: str) -> str:
        """The key as backends know it.

        Raises:
            BadKey: It is not a text, is empty, or has a space or control character in it.
        """
        check_key(key)
        return self.prefix + key

    def _changing(self, key: str, value: object = b"") -> str:
        """The full key of what is about to change, which no factory that runs now may overwrite."""
        full = self.full(key)
        if not isinstance(value, bytes):
            raise BadValue(key, type(value).__name__)
        self.flights.outdate((full,))
        return full

    def _ttl_of(self, ttl: float | None) -> float | None:
        return self._ttl if ttl is None else checked_ttl(ttl)


def _near(backend: Backend, instruments: Instruments) -> tuple[MemoryBackend | None, Callable[[], None]]:
    """The part of a backend that is in this process, and what counts a value that was found there."""
    if isinstance(backend, TieredBackend):
        return backend.local, instruments.local_hits.inc
    memory: object = backend
    return (memory if isinstance(memory, MemoryBackend) else None), instruments.hit
