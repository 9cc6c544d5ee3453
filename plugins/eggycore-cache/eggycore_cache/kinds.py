"""`CacheKind`: typed values of one kind, under keys of their own, kept by a policy of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import random
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, Unpack, cast, overload

from eggycore import log
from eggycore.diagnostics import diagnose
from eggycore_cache.errors import ValueTooLarge
from eggycore_cache.flights import Flight
from eggycore_cache.keys import NAMESPACE, check_key
from eggycore_cache.policies import Lifetime, Policy
from eggycore_cache.serializers import SerializerChoice, serializer_for

if TYPE_CHECKING:
    from eggycore_cache.memory import MemoryBackend
    from eggycore_cache.service import CacheService

__all__ = ["CacheKind", "Kinds", "MakeOptions"]

TOLD_EVERY = 60.0
"""Seconds between two lines in the log about values of a kind that are too large."""

V = TypeVar("V")
T = TypeVar("T")


class MakeOptions(TypedDict, total=False):
    """What `get_or_set` takes besides.

    Args:
        tags: Texts; `CacheService.invalidate` of one of them drops the value, also while it is being made.
        stale: Seconds after the ttl in which the old value is returned at once while a new one is made.
        serializer: Another one than the kind's.
        timeout: Seconds for each of the server's answers.
    """

    tags: Sequence[str]
    stale: float | None
    serializer: SerializerChoice | None
    timeout: float | None


class CacheKind(Generic[V]):
    """Typed values. Made by `CacheService.kind`; its keys are those of the service with "<name>:" before them.

    A value that came out of the cache belongs to its caller; one that a factory made is shared by all that waited
    for it, so do not change it.

    Args:
        cache: Where they are kept.
        name: Put before every key; "" for nothing.
    """

    def __init__(self, cache: CacheService, name: str) -> None:
        self._cache = cache
        self._prefix = f"{name}:" if name else ""
        self._told_at = float("-inf")
        self.name = name
        self.serializer = serializer_for("json")
        """How values become bytes."""
        self.tags: tuple[str, ...] = ()
        """What every value carries."""
        self.policy = Policy()
        """How values are kept now; it changes at a reload."""

    async def get(self, key: str, *, timeout: float | None = None) -> V | None:
        """The value, also a stale one; None when there is none.

        Raises:
            BadKey: The key is not a text, is empty, or has a space or control character in it.
        """
        found = await self._cache.values.read(self._full(key), self.serializer, self.tags, timeout=timeout)
        return cast("V | None", found.value)

    async def get_many(self, keys: Sequence[str], *, timeout: float | None = None) -> dict[str, V]:
        """The values that are there, by key.

        Raises:
            BadKey: As in `get`.
        """
        fulls = [self._full(key) for key in keys]
        found = await self._cache.values.read_many(fulls, self.serializer, timeout=timeout)
        pairs = zip(keys, found, strict=True)
        return {key: one.value for key, one in pairs if one.state in ("fresh", "stale")}

    async def set(
        self,
        key: str,
        value: V,
        ttl: float | None = None,
        *,
        tags: Sequence[str] = (),
        stale: float | None = None,
        timeout: float | None = None,
        strict: bool | None = None,
    ) -> bool:
        """Keep a value; whether a server has confirmed that.

        Args:
            key: Its key.
            value: What the serializer writes.
            ttl: Seconds to keep it, above 0; `math.inf` for no end; None for what the policy says.
            tags: Texts; `CacheService.invalidate` of one of them drops it.
            stale: Seconds after that in which it is still served as stale; None for what the policy says.
            timeout: Seconds for the server's answer.
            strict: As in `CacheService`.

        Raises:
            BadKey: As in `get`; also for a tag.
            NotSerializable: The serializer does not write such a value.
            ValueTooLarge: It does not fit into the cache.
            ValueError: The ttl is not above 0.
            CacheDown: Strict, and no server has confirmed it.
        """
        full, carried = self._full(key), (*self.tags, *tags)
        lifetime = self.policy.lifetime(ttl, stale, lambda: 0.0)
        self._cache.flights.outdate([full])
        versions = await self._cache.tags.versions(carried, {}, lifetime.kept)
        kept = versions is not None and await self._cache.values.write(
            full, value, self.serializer, lifetime, versions, timeout=timeout
        )
        return self._cache.outcomes.told(kept, failed=not kept, strict=strict)

    async def delete(self, key: str, *, timeout: float | None = None, strict: bool | None = None) -> bool:
        """Forget a value; whether there was one. As `CacheService.delete`."""
        return await self._cache.delete(self._prefix + self._checked(key), timeout=timeout, strict=strict)

    async def clear(self, *, timeout: float | None = None, strict: bool | None = None) -> bool:
        """Forget every value of the kind; whether all servers have confirmed that."""
        return await self._cache.clear_prefix(self._prefix, timeout=timeout, strict=strict)

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
        """The value of the cache, else the one that the factory makes, which is kept unless it is None.

        Of all callers that miss a key at the same time in this process one has its factory run, in a task of the
        cache: a caller that is cancelled does not end it for the others. When it raises, all get the error. While
        the cache does not answer, only CACHE_MAX_FACTORIES of them run at once.

        Args:
            key: Its key.
            factory: A function without arguments, async or not (a blocking one blocks the event loop).
            ttl: Seconds to keep it, above 0, up to CACHE_TTL_JITTER of it less at random; `math.inf` for no end;
                None for what the policy says.
            options: See `MakeOptions`.

        Raises:
            BadKey: The key or a tag is not a text, is empty, or has a space or control character in it.
            NotSerializable: The serializer does not write what the factory has made.
            FactoryNeedsItself: The factory asks for this key, or for one whose factory does.
            FactoryCancelled: The factory was cancelled by what it awaited.
            ValueError: The value has to be made, and the ttl is not above 0.
            CacheClosed: The cache is closed, or was before there was a value.
        """
        full, timeout = self._full(key), options.get("timeout")
        carried = (*self.tags, *options["tags"]) if "tags" in options else self.tags
        other = options.get("serializer")
        making = self.serializer if other is None else serializer_for(other)
        found = await self._cache.values.read(full, making, carried, timeout=timeout)
        if found.state == "fresh":
            return found.value
        lifetime = self.policy.lifetime(ttl, options.get("stale"), random)

        async def make(flight: Flight) -> Any:
            # Before the factory runs: who invalidates a tag from then on drops what it makes, in every process.
            versions = await self._cache.tags.versions(carried, found.tags, lifetime.kept)
            value = await self._cache.flights.run_factory(flight, factory)
            if value is not None and versions is not None and not flight.outdated:
                sealed = self._cache.values.sealed(full, value, making, lifetime, versions)
                await self._keep_made(flight, sealed, lifetime, timeout)
            return value

        if found.state == "stale":
            self._cache.flights.refresh(full, carried, make)
            return found.value
        bounded = found.state == "no answer" or not self._cache.available
        return await self._cache.flights.join(full, carried, make, bounded=bounded)

    async def _keep_made(self, flight: Flight, sealed: bytes, lifetime: Lifetime, timeout: float | None) -> None:
        """Write what a factory has made. What does not fit is returned all the same, with a line now and then."""
        try:
            await self._cache.backend.set(flight.key, sealed, lifetime.kept, timeout=timeout)
        except ValueTooLarge as error:
            if (now := monotonic()) - self._told_at >= TOLD_EVERY:
                self._told_at = now
                told = diagnose(error)
                log.warn("computed value not kept", reason=told.description, cause=told.cause, action=told.action)
        if flight.outdated:  # while it was on its way: it may have arrived after the delete
            await self._cache.backend.delete(flight.key, timeout=timeout)

    def _full(self, key: str) -> str:
        check_key(key)
        return self._cache.prefix + self._prefix + key

    def _checked(self, key: str) -> str:
        check_key(key)
        return key


class Kinds:
    """The kinds of one service, and the policies of each.

    What settings say of a kind wins over the code, which wins over what settings say of all.

    Args:
        cache: The service.
        near: The part of its backend that is in this process, if any: it keeps to the bounds of kinds.
    """

    def __init__(self, cache: CacheService, near: MemoryBackend | None) -> None:
        self._cache = cache
        self._near = near
        self._everywhere = Policy()
        self._settled: Mapping[str, Policy] = {}
        self._said: dict[str, Policy] = {}
        self._kinds: dict[str, CacheKind[Any]] = {}
        self.nameless: CacheKind[Any] = CacheKind(cache, "")

    def get(
        self, name: str, said: Policy, serializer: SerializerChoice | None, tags: Sequence[str] | None
    ) -> CacheKind[Any]:
        """The kind of this name; see `CacheService.kind`."""
        if not name or not NAMESPACE.fullmatch(name):
            raise ValueError(f"the name {name!r} of a kind is not made of 1 to 64 letters, digits and . _ -")
        if (kind := self._kinds.get(name)) is None:
            kind = self._kinds[name] = CacheKind(self._cache, name)
        if serializer is not None:
            kind.serializer = serializer_for(serializer)
        if tags is not None:
            kind.tags = tuple(tags)
        self._said[name] = said.over(self._said.get(name, Policy()))
        self._settle(name)
        return kind

    def configure(self, everywhere: Policy, settled: Mapping[str, Policy]) -> None:
        """Take over what settings say, in place of what they said before."""
        before, self._everywhere, self._settled = self._settled, everywhere, settled
        self.nameless.policy = everywhere
        for name in {*before, *settled, *self._kinds}:
            self._settle(name)

    def _settle(self, name: str) -> None:
        own = self._settled.get(name, Policy()).over(self._said.get(name, Policy()))
        if (kind := self._kinds.get(name)) is not None:
            kind.policy = own.over(self._everywhere)
        if self._near is not None:
            self._near.bound(self._cache.full(f"{name}:"), own.max_entries)
