"""The in-process backend: what every backend keeps to, and the bounds of prefixes."""

from __future__ import annotations

from importlib import import_module

import pytest

from eggycore.metrics import Registry
from eggycore.testing import FakeClock
from eggycore_cache.backend import BackendStats
from eggycore_cache.instruments import Instruments
from eggycore_cache.memory import MemoryBackend

conformance = import_module("plugins.eggycore-cache.tests.backend_conformance")


@pytest.mark.parametrize(
    "check", [*conformance.CHECKS, *conformance.CLOSING_CHECKS], ids=lambda check: str(check.__name__)
)
async def test_it_does_what_every_backend_does(check: conformance.Check) -> None:
    await check(MemoryBackend(max_entries=10_000, max_bytes=10_000_000), "t:")


async def there(backend: MemoryBackend, keys: str) -> str:
    return " ".join([key for key in keys.split() if await backend.exists(key)])


async def test_a_prefix_keeps_no_more_than_its_bound() -> None:
    backend = MemoryBackend(max_entries=100, max_bytes=1000)
    backend.bound("forms:", 2)
    for key in ("other:1", "forms:1", "forms:2", "other:2"):
        await backend.set(key, b"1", None)
    await backend.get("forms:1")
    await backend.set("forms:3", b"1", None)
    assert await there(backend, "other:1 other:2 forms:1 forms:2 forms:3") == "other:1 other:2 forms:1 forms:3"
    assert (await backend.stats()).evictions == 1


async def test_a_bound_that_shrinks_puts_out_the_least_recently_used() -> None:
    backend = MemoryBackend(max_entries=100, max_bytes=1000)
    for key in ("forms:1", "forms:2", "forms:3", "formsets:1"):
        await backend.set(key, b"1", None)
    await backend.get("forms:1")
    backend.bound("forms:", 2)
    assert await there(backend, "forms:1 forms:2 forms:3 formsets:1") == "forms:1 forms:3 formsets:1"
    backend.bound("forms:", 1)
    assert await there(backend, "forms:1 forms:2 forms:3 formsets:1") == "forms:1 formsets:1"
    backend.bound("forms:", None)
    await backend.set("forms:4", b"1", None)
    assert await there(backend, "forms:1 forms:4") == "forms:1 forms:4"


async def test_of_prefixes_that_begin_alike_the_longest_counts() -> None:
    backend = MemoryBackend(max_entries=100, max_bytes=1000)
    backend.bound("a:", 2)
    backend.bound("a:b:", 1)
    for key in ("a:1", "a:2", "a:b:1", "a:b:2"):
        await backend.set(key, b"1", None)
    assert await there(backend, "a:1 a:2 a:b:1 a:b:2") == "a:1 a:2 a:b:2"


async def test_expired_values_of_a_prefix_make_room_first() -> None:
    clock = FakeClock()
    backend = MemoryBackend(max_entries=100, max_bytes=1000, clock=clock)
    backend.bound("a:", 2)
    await backend.set("a:1", b"1", None)
    await backend.set("a:2", b"1", 1)
    clock.advance(1)
    await backend.set("a:3", b"1", None)
    assert await there(backend, "a:1 a:2 a:3") == "a:1 a:3"
    assert (await backend.stats()).evictions == 0


async def test_the_common_bound_holds_for_bounded_prefixes_too() -> None:
    backend = MemoryBackend(max_entries=2, max_bytes=1000)
    backend.bound("a:", 5)
    for key in ("a:1", "a:2", "b", "a:3"):
        await backend.set(key, b"1", None)
    assert await there(backend, "a:1 a:2 a:3 b") == "a:3 b"
    await backend.set("a:4", b"1", None)
    assert await there(backend, "a:3 a:4 b") == "a:3 a:4"


async def test_it_counts_what_it_holds() -> None:
    clock, metrics = FakeClock(), Registry()
    backend = MemoryBackend(max_entries=2, max_bytes=100, clock=clock, instruments=Instruments(metrics, "forms"))
    await backend.set("a", b"12", None)
    await backend.set("b", b"12", 1)
    assert await backend.stats() == BackendStats(entries=2, bytes=6, evictions=0)
    clock.advance(1)
    assert await backend.stats() == BackendStats(entries=1, bytes=3, evictions=0)
    gauges = {family.name: family.samples[0].value for family in metrics.collect() if family.samples}
    assert (gauges["cache_entries"], gauges["cache_size_bytes"]) == (1, 3)


async def test_touching_and_counting_keep_within_bounds() -> None:
    clock = FakeClock()
    backend = MemoryBackend(max_entries=10, max_bytes=100, clock=clock)
    await backend.set("n", b"9", 10)
    assert await backend.incr("n", 1, 99) == 10
    assert backend.size == 3
    assert await backend.touch("n", 20) is True
    clock.advance(15)
    assert await backend.get("n") == b"10"
    clock.advance(5)
    assert await backend.get("n") is None
    assert backend.size == 0
