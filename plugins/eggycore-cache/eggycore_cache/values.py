"""Reads and writes typed values: serializer, header, tags, freshness."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eggycore_cache.backend import NO_ANSWER, Backend, Reply
from eggycore_cache.envelope import Envelope, open_envelope, seal
from eggycore_cache.errors import NotSerializable
from eggycore_cache.instruments import Instruments
from eggycore_cache.memory import MemoryBackend
from eggycore_cache.policies import Lifetime
from eggycore_cache.serializers import Serializer
from eggycore_cache.tags import Tags

__all__ = ["Found", "Values"]


@dataclass(slots=True)
class Found:
    """What was read.

    Args:
        state: "fresh", "stale", "miss" (also what cannot be read any more), or "no answer".
        value: The value, when it is fresh or stale.
        tags: What is known of tags now.
    """

    state: Literal["fresh", "stale", "miss", "no answer"]
    value: Any = None
    tags: Mapping[str, Reply] = field(default_factory=dict)


class Values:
    """Typed values on a backend.

    Args:
        backend: Where they are.
        near: The part of it that is in this process, if any.
        near_hit: Counts a value that was found there.
        tags: Their tags.
        instruments: Where the outcomes are counted.
        wall_clock: Seconds since the epoch: several processes compare them.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        near: MemoryBackend | None,
        near_hit: Callable[[], None],
        tags: Tags,
        instruments: Instruments,
        wall_clock: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._near = near
        self._near_hit = near_hit
        self._tags = tags
        self._instruments = instruments
        self._wall_clock = wall_clock

    async def read(
        self, full: str, serializer: Serializer, tags: Iterable[str] = (), *, timeout: float | None = None
    ) -> Found:
        """The value under a full key. Tags that it is expected to carry are read in the same round trip."""
        known: dict[str, Reply] = {}
        reply: Reply = self._near.get_now(full) if self._near is not None else None
        hit = self._instruments.hit if reply is None else self._near_hit
        if reply is None:
            expected = tuple(tags)
            if expected:
                keys = [full, *self._tags.keys(expected)]
                reply, *versions = await self._backend.get_many(keys, timeout=timeout)
                known = dict(zip(expected, versions, strict=True))
            else:
                reply = await self._backend.get(full, timeout=timeout)
        return await self._judged(reply, known, serializer, hit)

    async def read_many(self, fulls: list[str], serializer: Serializer, *, timeout: float | None = None) -> list[Found]:
        """The values, in the order of the keys; the tags of all of them in one more round trip."""
        replies = await self._backend.get_many(fulls, timeout=timeout)
        envelopes = [_envelope(reply) for reply in replies]
        carried = {tag: None for envelope in envelopes if envelope for tag in envelope.tags}
        known = await self._tags.read(list(carried))
        return [await self._judged(reply, known, serializer, self._instruments.hit) for reply in replies]

    async def write(
        self,
        full: str,
        value: object,
        serializer: Serializer,
        lifetime: Lifetime,
        versions: Mapping[str, bytes],
        *,
        timeout: float | None = None,
    ) -> bool:
        """Keep a value; whether a server has confirmed that.

        Raises:
            NotSerializable: The serializer does not write such a value.
            ValueTooLarge: It does not fit into the cache.
        """
        sealed = self.sealed(full, value, serializer, lifetime, versions)
        return await self._backend.set(full, sealed, lifetime.kept, timeout=timeout)

    def sealed(
        self, full: str, value: object, serializer: Serializer, lifetime: Lifetime, versions: Mapping[str, bytes]
    ) -> bytes:
        """The bytes of a value with its header.

        Raises:
            NotSerializable: The serializer does not write such a value.
        """
        try:
            payload = serializer.dumps(value)
        except (TypeError, ValueError) as error:
            raise NotSerializable(full, type(value).__name__, serializer.name, str(error)) from error
        fresh_until = 0.0 if lifetime.fresh is None else self._wall_clock() + lifetime.fresh
        return seal(Envelope(payload=payload, serializer=serializer.name, fresh_until=fresh_until, tags=versions))

    async def _judged(
        self, reply: Reply, known: dict[str, Reply], serializer: Serializer, hit: Callable[[], None]
    ) -> Found:
        """What a reply is worth; counted."""
        if reply is NO_ANSWER:
            self._instruments.error()
            return Found("no answer", tags=known)
        if (envelope := _envelope(reply)) is None:
            self._instruments.miss()
            return Found("miss", tags=known)
        if envelope.tags and (not_valid := await self._not_valid(envelope, known)):
            return Found(not_valid, tags=known)
        return self._decoded(envelope, known, serializer, hit)

    async def _not_valid(self, envelope: Envelope, known: dict[str, Reply]) -> Literal["miss", "no answer"] | None:
        if unknown := [tag for tag in envelope.tags if tag not in known]:
            known.update(await self._tags.read(unknown))
        replies = [(known[tag], version) for tag, version in envelope.tags.items()]
        if any(reply is NO_ANSWER for reply, _ in replies):
            self._instruments.error()
            return "no answer"
        if any(reply != version for reply, version in replies):
            self._instruments.miss()
            return "miss"
        return None

    def _decoded(
        self, envelope: Envelope, known: dict[str, Reply], serializer: Serializer, hit: Callable[[], None]
    ) -> Found:
        if envelope.serializer != serializer.name:
            self._instruments.error()
            return Found("miss", tags=known)
        try:
            value = serializer.loads(envelope.payload)
        except Exception:  # noqa: BLE001  # the border to serializers, which raise what they like: it is a miss, counted
            self._instruments.error()
            return Found("miss", tags=known)
        if envelope.fresh_until and self._wall_clock() >= envelope.fresh_until:
            self._instruments.stale_hits.inc()
            return Found("stale", value, known)
        hit()
        return Found("fresh", value, known)


def _envelope(reply: Reply) -> Envelope | None:
    return open_envelope(reply) if isinstance(reply, bytes) else None
