"""The in-process cache against a plain model of what it promises, over any sequence of operations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eggycore.testing import FakeClock
from eggycore_cache import ValueTooLarge
from eggycore_cache.memory import MemoryBackend

KEYS = st.sampled_from(["a", "b", "c", "dd", "ü", "f" * 8])
VALUES = st.binary(max_size=12)
TTLS = st.one_of(st.none(), st.integers(1, 20).map(float))


@dataclass
class Kept:
    """What the model holds for a key; the dict's order is the order of use."""

    value: bytes
    deadline: float | None


def size_of(key: str, value: bytes) -> int:
    return len(key.encode()) + len(value)


class CacheAgainstModel(RuleBasedStateMachine):
    """Rules are what callers do; the model drops what has expired before each."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.model: dict[str, Kept] = {}

    @initialize(entries=st.integers(1, 5), size=st.integers(1, 40))
    def open(self, entries: int, size: int) -> None:
        self.entries, self.size = entries, size
        self.cache = MemoryBackend(max_entries=entries, max_bytes=size, clock=self.clock)

    @rule(seconds=st.integers(0, 10))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(key=KEYS, value=VALUES, ttl=TTLS)
    def set(self, key: str, value: bytes, ttl: float | None) -> None:
        self.expire()
        self.model.pop(key, None)
        if size_of(key, value) > self.size:
            try:
                self.runner.run(self.cache.set(key, value, ttl))
            except ValueTooLarge:
                return
            raise AssertionError("it took a value that does not fit")
        while len(self.model) >= self.entries or self.model_size() + size_of(key, value) > self.size:
            del self.model[next(iter(self.model))]
        self.model[key] = Kept(value, None if ttl is None else self.clock() + ttl)
        self.runner.run(self.cache.set(key, value, ttl))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.expire()
        kept = self.model.pop(key, None)
        if kept is not None:
            self.model[key] = kept
        assert self.runner.run(self.cache.get(key)) == (kept.value if kept else None)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.expire()
        assert self.runner.run(self.cache.delete(key)) == (self.model.pop(key, None) is not None)

    @rule(key=KEYS)
    def exists(self, key: str) -> None:
        self.expire()
        assert self.runner.run(self.cache.exists(key)) == (key in self.model)

    @invariant()
    def it_stays_within_bounds(self) -> None:
        assert len(self.model) <= self.cache.entries <= self.entries
        assert self.model_size() <= self.cache.size <= self.size

    def expire(self) -> None:
        living = {k: kept for k, kept in self.model.items() if kept.deadline is None or self.clock() < kept.deadline}
        self.model = living

    def model_size(self) -> int:
        return sum(size_of(key, kept.value) for key, kept in self.model.items())

    def teardown(self) -> None:
        self.runner.close()


TestCacheAgainstModel = CacheAgainstModel.TestCase
TestCacheAgainstModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


async def test_deadlines_of_values_that_are_gone_do_not_pile_up() -> None:
    clock = FakeClock()
    cache = MemoryBackend(max_entries=10, max_bytes=1000, clock=clock)
    for _ in range(50_000):
        await cache.set("a", b"1", 1000)
    assert len(cache._deadlines) < 2000
    clock.advance(1000)
    assert await cache.get("a") is None


async def test_a_value_that_was_set_again_outlives_its_first_deadline() -> None:
    clock = FakeClock()
    cache = MemoryBackend(max_entries=2, max_bytes=1000, clock=clock)
    await cache.set("old", b"1", None)
    await cache.set("a", b"1", 5)
    await cache.set("a", b"2", 50)
    clock.advance(10)
    await cache.set("new", b"1", None)
    assert [await cache.exists(key) for key in ("old", "a", "new")] == [False, True, True]


async def test_deadlines_stay_in_order_when_they_are_swept() -> None:
    clock = FakeClock()
    cache = MemoryBackend(max_entries=3, max_bytes=1000, clock=clock)
    await cache.set("long", b"1", 500)
    await cache.set("short", b"1", 10)
    for _ in range(5000):
        await cache.set("again", b"1", 900)
    clock.advance(10)
    await cache.set("new", b"1", None)
    assert [await cache.exists(key) for key in ("long", "short", "again", "new")] == [True, False, True, True]
