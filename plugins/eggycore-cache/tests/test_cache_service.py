"""`CacheService`: bytes by key with expiry, and what it refuses."""

from __future__ import annotations

import math

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.metrics import Registry
from eggycore.testing import FakeClock
from eggycore_cache import BadKey, BadValue, CacheClosed, CacheService, NotANumber, ValueTooLarge
from eggycore_cache.instruments import Instruments
from eggycore_cache.memory import MemoryBackend


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000)


@pytest.fixture
def metrics() -> Registry:
    return Registry()


@pytest.fixture
def cache(clock: FakeClock, metrics: Registry) -> CacheService:
    """A cache of three entries and 100 bytes, whose values are kept for 60 seconds unless told otherwise."""
    instruments = Instruments(metrics, "forms")
    backend = MemoryBackend(max_entries=3, max_bytes=100, clock=clock, instruments=instruments)
    return CacheService(backend, ttl=60, instruments=instruments)


async def test_what_was_set_is_there_until_it_is_deleted(cache: CacheService) -> None:
    assert await cache.get("a") is None
    await cache.set("a", b"1")
    assert (await cache.get("a"), await cache.exists("a")) == (b"1", True)
    await cache.set("a", b"")
    assert (await cache.get("a"), await cache.exists("a")) == (b"", True)
    assert await cache.delete("a") is True
    assert await cache.delete("a") is False
    assert (await cache.get("a"), await cache.exists("a")) == (None, False)


async def test_a_value_expires_after_its_own_time_or_the_default(cache: CacheService, clock: FakeClock) -> None:
    await cache.set("short", b"1", ttl=0.5)
    await cache.set("default", b"1")
    await cache.set("forever", b"1", ttl=math.inf)
    clock.advance(0.5)
    assert [await cache.exists(key) for key in ("short", "default", "forever")] == [False, True, True]
    clock.advance(59.5)
    assert [await cache.exists(key) for key in ("short", "default", "forever")] == [False, False, True]
    assert await cache.delete("default") is False


async def test_setting_again_starts_the_time_anew(cache: CacheService, clock: FakeClock) -> None:
    await cache.set("a", b"1", ttl=10)
    clock.advance(9)
    await cache.set("a", b"2", ttl=10)
    clock.advance(9)
    assert await cache.get("a") == b"2"


async def test_the_least_recently_used_value_makes_room(cache: CacheService) -> None:
    for key in "abc":
        await cache.set(key, b"1")
    await cache.get("a")
    await cache.exists("b")
    await cache.set("d", b"1")
    assert [await cache.exists(key) for key in "abcd"] == [True, False, True, True]


async def test_expired_values_make_room_before_living_ones(cache: CacheService, clock: FakeClock) -> None:
    await cache.set("old", b"1")
    await cache.set("expires", b"1", ttl=1)
    await cache.set("new", b"1")
    clock.advance(1)
    await cache.set("more", b"1")
    assert [await cache.exists(key) for key in ("old", "expires", "new", "more")] == [True, False, True, True]


async def test_keys_and_values_stay_within_the_bytes_allowed(cache: CacheService) -> None:
    await cache.set("a", b"1" * 49)
    await cache.set("b", b"1" * 49)
    assert await cache.exists("a")
    await cache.set("c", b"1")
    assert [await cache.exists(key) for key in "abc"] == [False, True, True]
    await cache.set("ü", b"1" * 48)
    assert [await cache.exists(key) for key in "bcü"] == [False, True, True]


async def test_a_value_that_never_fits_is_refused_and_the_old_one_is_gone(cache: CacheService) -> None:
    await cache.set("a", b"1")
    await cache.set("b", b"1")
    with pytest.raises(ValueTooLarge) as refused:
        await cache.set("a", b"1" * 100)
    assert render(diagnose(refused.value)) == (
        "The value for the cache key 'a' does not fit into the cache.\n"
        "  cause:  With its key it has 101 bytes, and the cache holds 100 (CACHE_MAX_SIZE).\n"
        "  action: Raise CACHE_MAX_SIZE, or cache something smaller."
    )
    assert (await cache.exists("a"), await cache.exists("b")) == (False, True)


KEY_ACTION = "Use a text of one character or more without spaces and control characters, for example 'form:7'."


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("", "'' is empty"),
        ("a b", "'a b' has ' ' in it"),
        ("a\nb", "'a\\nb' has '\\n' in it"),
        ("a\0", "'a\\x00' has '\\x00' in it"),
        ("a\x7f", "'a\\x7f' has '\\x7f' in it"),
        ("\u2003", "'\\u2003' has '\\u2003' in it"),
        ("\ud800", "'\\ud800' has '\\ud800' in it"),
        (b"a", "b'a' is of type bytes, not str"),
        (7, "7 is of type int, not str"),
        ("x" * 70 + " ", "'" + "x" * 59 + "... has ' ' in it"),
    ],
)
async def test_a_bad_key_is_refused_by_every_operation(cache: CacheService, key: str, what: str) -> None:
    for operation in (cache.get, cache.delete, cache.exists):
        with pytest.raises(BadKey) as refused:
            await operation(key)
        assert render(diagnose(refused.value)) == f"The cache key {what}.\n  action: {KEY_ACTION}"
    with pytest.raises(BadKey):
        await cache.set(key, b"1")
    assert isinstance(refused.value, ValueError)


async def test_long_keys_and_keys_of_any_script_are_taken(clock: FakeClock) -> None:
    cache = CacheService(MemoryBackend(max_entries=10, max_bytes=10_000, clock=clock))
    for key in ("k" * 1000, "форма:7", "形"):
        await cache.set(key, b"1")
        assert await cache.get(key) == b"1"


@pytest.mark.parametrize("value", ["text", 7, None, bytearray(b"1"), memoryview(b"1")])
async def test_a_value_that_is_not_bytes_is_refused(cache: CacheService, value: bytes) -> None:
    with pytest.raises(BadValue) as refused:
        await cache.set("a", value)
    assert isinstance(refused.value, TypeError)
    assert render(diagnose(refused.value)) == (
        f"The value for the cache key 'a' is of type {type(value).__name__}, not bytes.\n"
        "  action: Encode it first, for example with orjson.dumps(value) or text.encode()."
    )


@pytest.mark.parametrize("ttl", [0, -1, math.nan])
async def test_a_time_to_live_is_above_0(cache: CacheService, ttl: float) -> None:
    with pytest.raises(ValueError, match=r"must be above 0 seconds \(math.inf for no end\)"):
        await cache.set("a", b"1", ttl=ttl)
    with pytest.raises(ValueError, match="must be above 0 seconds"):
        CacheService(MemoryBackend(max_entries=1, max_bytes=1), ttl=ttl)


async def test_namespaces_keep_apps_apart_on_one_backend(clock: FakeClock) -> None:
    backend = MemoryBackend(max_entries=10, max_bytes=1000, clock=clock)
    orders, users = CacheService(backend, namespace="orders"), CacheService(backend, namespace="users")
    await orders.set("1", b"order")
    assert (await orders.get("1"), await users.get("1")) == (b"order", None)
    assert await backend.get("orders:1") == b"order"


@pytest.mark.parametrize("namespace", ["a b", "a:b", "ü", "x" * 65, "a\n"])
def test_a_namespace_of_other_characters_is_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match="is not made of at most 64 letters, digits and"):
        CacheService(MemoryBackend(max_entries=1, max_bytes=1), namespace=namespace)


async def test_a_closed_cache_says_so(cache: CacheService) -> None:
    await cache.set("a", b"1")
    await cache.ping()
    await cache.close()
    await cache.close()
    for operation in (cache.get("a"), cache.set("a", b"1"), cache.delete("a"), cache.exists("a"), cache.ping()):
        with pytest.raises(CacheClosed) as closed:
            await operation
    assert render(diagnose(closed.value)) == (
        "The cache is closed.\n"
        "  cause:  It was used after the runtime had closed it.\n"
        "  action: Use it in handlers and services, which end before it closes."
    )


async def test_hits_misses_entries_bytes_and_evictions_are_counted(cache: CacheService, metrics: Registry) -> None:
    for key in "abcd":
        await cache.set(key, b"1")
    await cache.get("a")
    await cache.get("d")
    await cache.get("d")
    await cache.exists("d")
    await cache.delete("b")
    assert {
        (family.name, *sample.labels): sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.value
    } == {
        ("cache_requests_total", "forms", "hit"): 2,
        ("cache_requests_total", "forms", "miss"): 1,
        ("cache_entries", "forms"): 2,
        ("cache_size_bytes", "forms"): 4,
        ("cache_evictions_total", "forms"): 1,
    }


async def test_several_values_at_once(cache: CacheService) -> None:
    assert await cache.set_many({"a": b"1", "b": b"2"}) is True
    assert await cache.get_many(["b", "none", "a", "b"]) == {"b": b"2", "a": b"1"}
    assert await cache.delete_many(["a", "none"]) == 1
    assert await cache.get_many(["a", "b"]) == {"b": b"2"}
    with pytest.raises(BadKey):
        await cache.get_many(["a", "b c"])
    with pytest.raises(BadValue):
        await cache.set_many({"a": b"1", "b": "2"})  # type: ignore[dict-item]  # the mistake under test


async def test_add_incr_and_touch(cache: CacheService, clock: FakeClock) -> None:
    assert (await cache.add("a", b"1"), await cache.add("a", b"2"), await cache.get("a")) == (True, False, b"1")
    assert [await cache.incr("n"), await cache.incr("n", 4), await cache.incr("n", -9)] == [1, 5, 0]
    assert (await cache.touch("a", 5), await cache.touch("none")) == (True, False)
    clock.advance(5)
    assert (await cache.get("a"), await cache.get("n")) == (None, b"0")
    clock.advance(55)
    assert await cache.get("n") is None


async def test_what_is_no_number_is_not_counted(cache: CacheService) -> None:
    await cache.set("a", b"text")
    with pytest.raises(NotANumber) as told:
        await cache.incr("a")
    assert render(diagnose(told.value)) == (
        "The value for the cache key 'a' is not a whole number, so nothing can be added.\n"
        "  action: Count under a key of its own, or delete this one first."
    )


async def test_a_prefix_is_cleared_within_its_namespace(clock: FakeClock) -> None:
    backend = MemoryBackend(max_entries=10, max_bytes=1000, clock=clock)
    orders, users = CacheService(backend, namespace="orders"), CacheService(backend, namespace="users")
    for cache in (orders, users):
        await cache.set_many({"user:1": b"1", "user:2": b"2", "users": b"3"})
    assert await orders.clear_prefix("user:") is True
    assert await orders.get_many(["user:1", "user:2", "users"]) == {"users": b"3"}
    assert len(await users.get_many(["user:1", "user:2", "users"])) == 3
    assert await orders.clear_prefix("") is True
    assert (await orders.exists("users"), await users.exists("users")) == (False, True)
    with pytest.raises(BadKey):
        await orders.clear_prefix("a b")
