"""`CacheService` against a plain model of what it promises: in memory, and with a tier of copies in front."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from eggycore.testing import FakeClock
from eggycore_cache import CacheService, NotANumber, Policy
from eggycore_cache.backend import Backend
from eggycore_cache.memory import MemoryBackend
from eggycore_cache.tiers import TieredBackend

PREFIXES = ["", "u", "user:", "user:1", "x:"]
KEYS = st.sampled_from(["user:1", "user:2", "users", "x:1", "ü"])
TYPED = st.sampled_from(["user:1", "user:3", "x:2"])
TAGS = st.sets(st.sampled_from(["red", "green", "blue"]), max_size=2)
VALUES = st.one_of(st.binary(max_size=4), st.integers(0, 20).map(lambda number: b"%d" % number))
TTLS = st.one_of(st.none(), st.integers(1, 20).map(float))

LOCAL_TTL = 5.0


@dataclass
class Kept:
    """What the model holds for a key."""

    value: object
    deadline: float | None
    tags: frozenset[str] = frozenset()


class MemoryAgainstModel(RuleBasedStateMachine):
    """Rules are what callers do. The model knows no bounds, and the cache never reaches its own."""

    copies = 0.0
    """Seconds for which something that has expired may still be read."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock(1000)
        self.model: dict[str, Kept] = {}
        self.made = 1000  # more than any value that is set
        self.cache = self.runner.run(self.opened())
        self.kind = self.cache.kind("typed")

    async def opened(self) -> CacheService:
        return CacheService(self.backend(), namespace="app", policy=Policy(ttl_jitter=0), wall_clock=self.clock)

    def backend(self) -> Backend:
        return self.memory()

    def memory(self) -> MemoryBackend:
        return MemoryBackend(max_entries=1000, max_bytes=1_000_000, clock=self.clock)

    def living(self, key: str) -> Kept | None:
        kept = self.model.get(key)
        return kept if kept is None or kept.deadline is None or self.clock() < kept.deadline else None

    def allowed(self, key: str) -> list[object]:
        """What may be read under a key."""
        if (living := self.living(key)) is not None:
            return [living.value]
        kept = self.model.get(key)
        lingers = kept is not None and kept.deadline is not None and self.clock() < kept.deadline + self.copies
        return [None, kept.value] if kept is not None and lingers else [None]

    def keep(self, key: str, value: object, ttl: float | None, tags: Iterable[str] = ()) -> None:
        self.model[key] = Kept(value, None if ttl is None else self.clock() + ttl, frozenset(tags))

    @rule(seconds=st.integers(0, 10))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(key=KEYS, value=VALUES, ttl=TTLS)
    def set(self, key: str, value: bytes, ttl: float | None) -> None:
        assert self.runner.run(self.cache.set(key, value, ttl)) is True
        self.keep(key, value, ttl)

    @rule(items=st.dictionaries(KEYS, VALUES, max_size=3), ttl=TTLS)
    def set_many(self, items: dict[str, bytes], ttl: float | None) -> None:
        assert self.runner.run(self.cache.set_many(items, ttl)) is True
        for key, value in items.items():
            self.keep(key, value, ttl)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.runner.run(self.cache.get(key)) in self.allowed(key)

    @rule(keys=st.lists(KEYS, max_size=4))
    def get_many(self, keys: list[str]) -> None:
        found = self.runner.run(self.cache.get_many(keys))
        assert all(found.get(key) in self.allowed(key) for key in keys)

    @rule(key=KEYS)
    def exists(self, key: str) -> None:
        assert self.runner.run(self.cache.exists(key)) in [value is not None for value in self.allowed(key)]

    @rule(key=KEYS, value=VALUES, ttl=TTLS)
    def add(self, key: str, value: bytes, ttl: float | None) -> None:
        free = self.living(key) is None
        assert self.runner.run(self.cache.add(key, value, ttl)) is free
        if free:
            self.keep(key, value, ttl)

    @rule(key=KEYS, amount=st.integers(-5, 5), ttl=TTLS)
    def incr(self, key: str, amount: int, ttl: float | None) -> None:
        kept = self.living(key)
        if kept is None:
            self.keep(key, b"%d" % max(0, amount), ttl)
        elif isinstance(kept.value, bytes) and kept.value.isdigit():
            kept.value = b"%d" % max(0, int(kept.value) + amount)
        else:
            try:
                self.runner.run(self.cache.incr(key, amount, ttl))
            except NotANumber:
                return
            raise AssertionError("it counted what is no number")
        assert b"%d" % (self.runner.run(self.cache.incr(key, amount, ttl)) or 0) == self.model[key].value

    @rule(key=KEYS, ttl=TTLS)
    def touch(self, key: str, ttl: float | None) -> None:
        kept = self.living(key)
        assert self.runner.run(self.cache.touch(key, ttl)) is (kept is not None)
        if kept is not None:
            self.keep(key, kept.value, ttl)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.runner.run(self.cache.delete(key)) is (self.living(key) is not None)
        self.model.pop(key, None)

    @rule(keys=st.lists(KEYS, max_size=3, unique=True))
    def delete_many(self, keys: list[str]) -> None:
        there = sum(self.living(key) is not None for key in keys)
        assert self.runner.run(self.cache.delete_many(keys)) == there
        for key in keys:
            self.model.pop(key, None)

    @rule(prefix=st.sampled_from([*PREFIXES, "typed:", "typed:user:"]))
    def clear_prefix(self, prefix: str) -> None:
        assert self.runner.run(self.cache.clear_prefix(prefix)) is True
        self.model = {key: kept for key, kept in self.model.items() if not key.startswith(prefix)}

    @rule(key=TYPED, value=st.integers(0, 9), ttl=TTLS, tags=TAGS)
    def typed_set(self, key: str, value: int, ttl: float | None, tags: set[str]) -> None:
        assert self.runner.run(self.kind.set(key, value, ttl, tags=sorted(tags))) is True
        self.keep(f"typed:{key}", value, ttl, tags)

    @rule(key=TYPED)
    def typed_get(self, key: str) -> None:
        assert self.runner.run(self.kind.get(key)) in self.allowed(f"typed:{key}")

    @rule(keys=st.lists(TYPED, max_size=3))
    def typed_get_many(self, keys: list[str]) -> None:
        found = self.runner.run(self.kind.get_many(keys))
        assert all(found.get(key) in self.allowed(f"typed:{key}") for key in keys)

    @rule(key=TYPED, ttl=TTLS, tags=TAGS)
    def get_or_set(self, key: str, ttl: float | None, tags: set[str]) -> None:
        allowed = self.allowed(f"typed:{key}")
        self.made += 1
        value = self.runner.run(self.kind.get_or_set(key, lambda: self.made, ttl, tags=sorted(tags)))
        if value == self.made:
            assert None in allowed
            self.keep(f"typed:{key}", value, ttl, tags)
        else:
            assert value in allowed

    @rule(tags=TAGS)
    def invalidate(self, tags: set[str]) -> None:
        assert self.runner.run(self.cache.invalidate(*tags)) is True
        self.model = {key: kept for key, kept in self.model.items() if not kept.tags & tags}

    def teardown(self) -> None:
        self.runner.run(self.cache.close())
        self.runner.close()


class TiersAgainstModel(MemoryAgainstModel):
    """The same with copies: what has expired on the server may be read a moment longer, what was changed may not."""

    copies = LOCAL_TTL

    def backend(self) -> Backend:
        return TieredBackend(self.memory(), self.memory(), local_ttl=LOCAL_TTL)


TestMemoryAgainstModel = MemoryAgainstModel.TestCase
TestTiersAgainstModel = TiersAgainstModel.TestCase
TestMemoryAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTiersAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
