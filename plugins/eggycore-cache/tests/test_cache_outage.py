"""A cache that is down: a miss for every caller, an error for who asks for one, and told to people and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import pytest

from eggycore.config import read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import Unavailable
from eggycore.metrics import Registry
from eggycore.types import Finding
from eggycore_cache import NO_ANSWER, CacheDown, CacheService, CacheSettings, CacheStats, close, connect
from eggycore_cache.backend import BackendStats, ServerStats
from eggycore_cache.instruments import Instruments
from eggycore_cache.memory import MemoryBackend

DownBackend = import_module("plugins.eggycore-cache.tests.down_backend").DownBackend

Operation = Callable[[CacheService], Callable[..., Awaitable[Any]]]

OPERATIONS: dict[str, tuple[Operation, tuple[Any, ...], Any]] = {
    "get": (lambda cache: cache.get, ("a",), None),
    "get_many": (lambda cache: cache.get_many, (["a", "b"],), {}),
    "set": (lambda cache: cache.set, ("a", b"1"), False),
    "set_many": (lambda cache: cache.set_many, ({"a": b"1"},), False),
    "add": (lambda cache: cache.add, ("a", b"1"), False),
    "incr": (lambda cache: cache.incr, ("a",), None),
    "touch": (lambda cache: cache.touch, ("a",), False),
    "delete": (lambda cache: cache.delete, ("a",), False),
    "delete_many": (lambda cache: cache.delete_many, (["a"],), 0),
    "exists": (lambda cache: cache.exists, ("a",), False),
    "clear_prefix": (lambda cache: cache.clear_prefix, ("a",), False),
    "invalidate": (lambda cache: cache.invalidate, ("a",), False),
    "kind.set": (lambda cache: cache.kind("forms").set, ("a", 1), False),
    "kind.delete": (lambda cache: cache.kind("forms").delete, ("a",), False),
    "kind.clear": (lambda cache: cache.kind("forms").clear, (), False),
}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_it_is_a_miss_unless_asked(name: str) -> None:
    method, arguments, outcome = OPERATIONS[name]
    instruments = Instruments(Registry(), "")
    cache = CacheService(DownBackend(), instruments=instruments)
    assert await method(cache)(*arguments) == outcome
    assert instruments.errors.value >= 1
    with pytest.raises(CacheDown):
        await method(cache)(*arguments, strict=True)
    strict = CacheService(DownBackend(), strict=True)
    with pytest.raises(CacheDown) as down:
        await method(strict)(*arguments)
    assert await method(strict)(*arguments, strict=False) == outcome
    assert isinstance(down.value, Unavailable)
    assert render(diagnose(down.value)) == (
        "The cache does not answer.\n"
        "  cause:  no answer in time, or not asked because it has just failed several times.\n"
        "  action: Look at the server and at CACHE_URL: eggycore doctor"
    )


async def test_typed_values_are_misses_too() -> None:
    cache = CacheService(DownBackend())
    forms = cache.kind("forms")
    assert (await forms.get("a"), await forms.get_many(["a", "b"])) == (None, {})
    assert await forms.get_or_set("a", lambda: "made", tags=["form:7"]) == "made"
    await cache.close()


async def test_a_lookup_tells_a_miss_from_no_answer() -> None:
    assert await CacheService(DownBackend()).lookup("a") is NO_ANSWER
    cache = CacheService(MemoryBackend(max_entries=1, max_bytes=100))
    assert await cache.lookup("a") is None
    await cache.set("a", b"1")
    assert await cache.lookup("a") == b"1"


async def test_a_ping_says_which_server_and_why_and_brings_the_metrics_up_to_date() -> None:
    metrics = Registry()
    cache = CacheService(DownBackend(), instruments=Instruments(metrics, "forms"))
    with pytest.raises(CacheDown) as down:
        await cache.ping()
    assert render(diagnose(down.value)) == (
        "The cache does not answer.\n"
        "  cause:  m1:11211: refused the connection.\n"
        "  action: Look at the server and at CACHE_URL: eggycore doctor"
    )
    found = {(family.name, *sample.labels): sample.value for family in metrics.collect() for sample in family.samples}
    assert found["cache_server_up", "m1:11211"] == 0
    assert found["cache_server_up", "m2:11211"] == 1
    assert (found["cache_entries", "forms"], found["cache_size_bytes", "forms"]) == (5, 50)


async def test_evictions_of_servers_count_from_when_they_were_first_asked() -> None:
    instruments = Instruments(Registry(), "")
    server = (ServerStats(server="m", state="closed"),)
    for evictions in (100, 103, 0, 2):
        instruments.observe(BackendStats(evictions=evictions, servers=server))
    assert instruments.evictions.value == 5


async def test_a_server_that_has_left_its_cluster_leaves_the_metrics() -> None:
    metrics = Registry()
    instruments = Instruments(metrics, "")
    for name in ("10.0.0.1:6379", "10.0.0.2:6379"):
        instruments.observe(BackendStats(servers=(ServerStats(server=name, state="closed"),)))
    found = [sample.labels for family in metrics.collect() for sample in family.samples if "up" in family.name]
    assert found == [("10.0.0.2:6379",)]


async def test_stats_of_one_process() -> None:
    cache = CacheService(MemoryBackend(max_entries=2, max_bytes=100))
    assert (await cache.stats()).hit_rate is None
    for key in "abc":
        await cache.set(key, b"12")
    await cache.get_many("abc")
    stats = await cache.stats()
    assert stats == CacheStats(
        hits=2, misses=1, errors=0, local_hits=0, stale_hits=0, entries=2, bytes=6, evictions=1, servers=()
    )
    assert stats.hit_rate == 2 / 3


async def test_the_doctor_is_told_of_every_server() -> None:
    assert list(await CacheService(DownBackend()).examine(replicas=1)) == [
        Finding(
            subject="cache m1:11211",
            state="warning",
            text="it does not answer (refused the connection); until it does, the app works without it, only slower",
            action="Look at the server and at CACHE_URL.",
        ),
        Finding(subject="cache m2:11211", state="ok", text="it answers"),
    ]


async def test_the_doctor_is_told_of_a_server_that_is_not_there_at_all() -> None:
    cache = await connect(read_from_env(CacheSettings, {"CACHE_URL": "redis://:hunter2@127.0.0.1:1"}))
    (row,) = await cache.examine(replicas=1)
    assert (row.subject, row.state) == ("cache 127.0.0.1:1", "warning")
    assert row.text.startswith("it does not answer (")
    assert row.action
    assert "hunter2" not in str(row)
    await close()


async def test_the_doctor_is_told_that_replicas_share_no_memory() -> None:
    cache = CacheService(MemoryBackend(max_entries=2, max_bytes=100))
    assert list(await cache.examine(replicas=1)) == [
        Finding(subject="cache", state="ok", text="values are kept in this process")
    ]
    assert list(await cache.examine(replicas=3)) == [
        Finding(
            subject="cache",
            state="warning",
            text="each of 3 replicas has a cache of its own: one may still hold what another has changed",
            action="Name a server that they share in CACHE_URL, or keep times short.",
        )
    ]
