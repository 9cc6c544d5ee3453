"""Typed values: serializers, headers, kinds, policies and tags."""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.diagnostics import diagnose, render
from eggycore.metrics import Registry
from eggycore.testing import FakeClock
from eggycore_cache import BadKey, CacheService, NotSerializable, Policy
from eggycore_cache.envelope import Envelope, open_envelope, seal
from eggycore_cache.errors import PackageMissing, UnknownSerializer
from eggycore_cache.instruments import Instruments
from eggycore_cache.memory import MemoryBackend
from eggycore_cache.serializers import _MADE, serializer_for


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000)


@pytest.fixture
def backend(clock: FakeClock) -> MemoryBackend:
    return MemoryBackend(max_entries=100, max_bytes=100_000, clock=clock)


@pytest.fixture
async def cache(backend: MemoryBackend, clock: FakeClock) -> AsyncIterator[CacheService]:
    service = CacheService(backend, namespace="app", policy=Policy(ttl=60, ttl_jitter=0), wall_clock=clock)
    yield service
    await service.close()


VALUES = [None, True, 7, 1.5, "ü", [1, "a"], {"a": {"b": []}}]


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
async def test_values_come_back_as_they_were(cache: CacheService, serializer: Any) -> None:
    forms = cache.kind("forms", serializer=serializer)
    for number, value in enumerate(VALUES):
        assert await forms.set(str(number), value) is True
        assert await forms.get(str(number)) == value
    assert await forms.get_many(["1", "none", "3"]) == {"1": True, "3": 1.5}


async def test_raw_takes_bytes_only(cache: CacheService) -> None:
    images = cache.kind("images", serializer="raw")
    await images.set("a", b"\0\xff")
    assert await images.get("a") == b"\0\xff"
    with pytest.raises(NotSerializable):
        await images.set("a", "text")


@dataclass
class Point:
    x: int


class Text(str):
    """Would come back as a plain str."""


@pytest.mark.parametrize("value", [Point(1), datetime.datetime.now(datetime.UTC), Text("a"), {1: "a"}, b"bytes"])
async def test_json_refuses_what_would_come_back_as_something_else(cache: CacheService, value: object) -> None:
    with pytest.raises(NotSerializable):
        await cache.kind("forms").set("a", value)


class Points:
    """A serializer of the app's own."""

    name = "points-1"

    def dumps(self, value: Point) -> bytes:
        return str(value.x).encode()

    def loads(self, data: bytes) -> Point:
        return Point(int(data))


async def test_a_serializer_of_one_s_own(cache: CacheService) -> None:
    points = cache.kind("points", serializer=Points())
    await points.set("a", Point(7))
    assert await points.get("a") == Point(7)
    assert await cache.get_or_set("b", lambda: Point(8), serializer=Points()) == Point(8)
    assert await cache.get_or_set("b", lambda: Point(9), serializer=Points()) == Point(8)


def test_a_serializer_that_does_not_exist() -> None:
    with pytest.raises(UnknownSerializer) as unknown:
        serializer_for("pickle")  # type: ignore[arg-type]  # the mistake under test
    assert render(diagnose(unknown.value)) == (
        "There is no serializer 'pickle'.\n  action: Use json, raw or msgpack, or a Serializer of your own."
    )


def test_without_msgpack_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    monkeypatch.delitem(_MADE, "msgpack", raising=False)
    with pytest.raises(PackageMissing) as missing:
        serializer_for("msgpack")
    assert render(diagnose(missing.value)) == (
        "The serializer msgpack needs the package msgpack, which is not installed.\n"
        "  action: pip install 'eggycore-cache[msgpack]'"
    )


ENVELOPES = st.builds(
    Envelope,
    payload=st.binary(max_size=50),
    serializer=st.text(max_size=20),
    fresh_until=st.floats(0, 1e12),
    tags=st.dictionaries(st.text(max_size=20), st.binary(min_size=8, max_size=8), max_size=5),
)


@given(ENVELOPES)
def test_an_envelope_is_read_as_it_was_written(envelope: Envelope) -> None:
    assert open_envelope(seal(envelope)) == envelope


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda rest: b"\xe9gg\x01" + rest)))
def test_foreign_bytes_are_no_envelope_or_at_least_no_crash(data: bytes) -> None:
    envelope = open_envelope(data)
    assert envelope is None or isinstance(envelope.payload, bytes)


@given(ENVELOPES, st.data())
def test_an_envelope_that_is_cut_short_is_never_a_crash(envelope: Envelope, data: st.DataObject) -> None:
    whole = seal(envelope)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    found = open_envelope(cut)
    assert found is None or envelope.payload.startswith(found.payload)


def test_an_envelope_has_at_most_255_tags() -> None:
    with pytest.raises(ValueError, match="a value has at most 255 tags, not 256"):
        seal(Envelope(payload=b"", serializer="raw", tags={str(number): b"12345678" for number in range(256)}))


@pytest.mark.parametrize("foreign", [b"", b"{}", b"\xe9gg\x02rest", b"\xe9gg\x01"])
async def test_a_foreign_value_is_a_miss(cache: CacheService, foreign: bytes) -> None:
    await cache.set("forms:a", foreign)
    assert await cache.kind("forms").get("a") is None
    assert await cache.kind("forms").get_or_set("a", lambda: 7) == 7
    assert (await cache.stats()).errors == 0


async def test_a_value_that_no_longer_decodes_is_a_miss_and_an_error(cache: CacheService) -> None:
    points = cache.kind("points", serializer=Points())
    await cache.kind("points").set("a", Point(7))
    sealed = (await cache.get("points:a") or b"").replace(b"7", b"x")
    await cache.set("points:a", sealed)
    assert await points.get("a") is None
    assert (await cache.stats()).errors == 1


async def test_a_value_of_another_serializer_is_a_miss_and_an_error(cache: CacheService) -> None:
    await cache.kind("forms", serializer="json").set("a", 7)
    assert await cache.kind("forms", serializer="msgpack").get_or_set("a", lambda: 8) == 8
    assert (await cache.stats()).errors == 1


async def test_a_kind_has_keys_of_its_own(cache: CacheService, backend: MemoryBackend) -> None:
    forms, users = cache.kind("forms"), cache.kind("users")
    await forms.set("1", "form")
    await users.set("1", "user")
    assert await backend.exists("app:forms:1")
    assert (await forms.get("1"), await users.get("1")) == ("form", "user")
    assert await forms.delete("1") is True
    await forms.set("2", "form")
    assert await forms.clear() is True
    assert (await forms.get("2"), await users.get("1")) == (None, "user")
    assert cache.kind("forms") is forms


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 65])
def test_a_kind_of_another_name_is_refused(cache: CacheService, name: str) -> None:
    with pytest.raises(ValueError, match="of a kind is not made of 1 to 64 letters, digits and"):
        cache.kind(name)


async def test_a_kind_keeps_its_values_as_long_and_as_many_as_its_policy_says(
    cache: CacheService, clock: FakeClock
) -> None:
    forms = cache.kind("forms", ttl=600, max_entries=2)
    for key in "abc":
        await forms.set(key, key)
    await cache.kind("users").set("a", "user")
    assert await forms.get_many(["a", "b", "c"]) == {"b": "b", "c": "c"}
    clock.advance(60)
    assert (await cache.kind("users").get("a"), await forms.get("b")) == (None, "b")
    clock.advance(540)
    assert await forms.get("b") is None


async def test_settings_of_a_kind_win_over_the_code_which_wins_over_settings_for_all(
    cache: CacheService, clock: FakeClock
) -> None:
    forms = cache.kind("forms", ttl=600, max_entries=5)
    assert forms.policy == Policy(ttl=600, max_entries=5, ttl_jitter=0)
    cache.configure(Policy(ttl=1, stale=3), {"forms": Policy(ttl=30)})
    assert forms.policy == Policy(ttl=30, max_entries=5, stale=3)
    await forms.set("a", 1)
    clock.advance(29)
    assert await forms.get("a") == 1
    clock.advance(4)
    assert await forms.get("a") is None
    cache.configure(Policy(ttl=1), {})
    assert forms.policy == Policy(ttl=600, max_entries=5)


async def test_a_bound_from_settings_counts_for_a_kind_before_the_code_knows_it(cache: CacheService) -> None:
    cache.configure(Policy(), {"forms": Policy(max_entries=1)})
    await cache.set("forms:1", b"1")
    await cache.set("forms:2", b"1")
    assert [await cache.exists(key) for key in ("forms:1", "forms:2")] == [False, True]
    cache.configure(Policy(max_entries=2), {})
    for key in "123":
        await cache.set(f"forms:{key}", b"1")
    assert [await cache.exists(f"forms:{key}") for key in "123"] == [False, True, True]


@pytest.mark.parametrize(
    "wrong",
    [{"ttl": 0}, {"ttl": math.nan}, {"stale": -1}, {"stale": math.inf}, {"ttl_jitter": 1}, {"max_entries": 0}],
)
def test_a_policy_refuses_what_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .* must be"):
        Policy(**wrong)  # type: ignore[arg-type]  # the mistake under test


async def test_a_tag_drops_what_carries_it_and_nothing_else(cache: CacheService) -> None:
    pages = cache.kind("pages")
    await pages.set("1", "of form 7", tags=["form:7"])
    await pages.set("2", "of forms 7 and 8", tags=["form:7", "form:8"])
    await pages.set("3", "of form 8", tags=["form:8"])
    await pages.set("4", "of none")
    assert await cache.invalidate("form:7") is True
    assert await pages.get_many(["1", "2", "3", "4"]) == {"3": "of form 8", "4": "of none"}
    assert [await pages.get(key) for key in "1234"] == [None, None, "of form 8", "of none"]
    await pages.set("1", "again", tags=["form:7"])
    assert await pages.get("1") == "again"
    assert await cache.invalidate("form:7", "form:8", "unknown") is True
    assert await pages.get_many(["1", "2", "3", "4"]) == {"4": "of none"}


async def test_every_value_of_a_kind_carries_the_kind_s_tags(cache: CacheService) -> None:
    pages = cache.kind("pages", tags=["all-pages"])
    await pages.set("1", 1)
    assert await pages.get_or_set("2", lambda: 2, tags=["form:7"]) == 2
    await cache.invalidate("all-pages")
    assert await pages.get_many(["1", "2"]) == {}


async def test_a_tag_whose_version_was_lost_drops_its_values(cache: CacheService, backend: MemoryBackend) -> None:
    await cache.get_or_set("a", lambda: "old", tags=["form:7"])
    assert await backend.delete("app:!tag:form:7") is True
    assert await cache.get_or_set("a", lambda: "new", tags=["form:7"]) == "new"


async def test_a_value_is_found_by_who_does_not_know_its_tags(cache: CacheService) -> None:
    await cache.get_or_set("a", lambda: 1, tags=["form:7"])
    assert await cache.get_or_set("a", lambda: 2) == 1
    assert await cache.get_or_set("a", lambda: 2, tags=["other"]) == 1
    await cache.invalidate("form:7")
    assert await cache.get_or_set("a", lambda: 2) == 2


@pytest.mark.parametrize("tag", ["", "a b", 7])
async def test_a_bad_tag_is_refused(cache: CacheService, tag: Any) -> None:
    with pytest.raises(BadKey):
        await cache.get_or_set("a", lambda: 1, tags=[tag])
    with pytest.raises(BadKey):
        await cache.invalidate(tag)


async def test_stale_values_are_read_and_counted_apart(clock: FakeClock) -> None:
    instruments = Instruments(Registry(), "")
    cache = CacheService(
        MemoryBackend(max_entries=10, max_bytes=1000, clock=clock), instruments=instruments, wall_clock=clock
    )
    forms = cache.kind("forms", ttl=10, stale=10)
    await forms.set("a", 1)
    clock.advance(10)
    assert await forms.get("a") == 1
    assert (instruments.hits.value, instruments.stale_hits.value) == (0, 1)
    clock.advance(10)
    assert await forms.get("a") is None
    await cache.close()
