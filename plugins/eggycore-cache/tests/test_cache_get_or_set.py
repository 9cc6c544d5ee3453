"""`get_or_set`: one factory run per key, whoever waits, fails, is cancelled or invalidates meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.metrics import Registry
from eggycore.testing import FakeClock
from eggycore_cache import CacheClosed, CacheService, NotSerializable, Policy
from eggycore_cache.errors import FactoryNeedsItself
from eggycore_cache.instruments import Instruments
from eggycore_cache.memory import MemoryBackend

DownBackend = import_module("plugins.eggycore-cache.tests.down_backend").DownBackend

EXACT = Policy(ttl_jitter=0.0)


class Factory:
    """Counts its runs, and waits in each until it is let go on."""

    def __init__(self, result: object = "made") -> None:
        self.result = result
        self.runs = 0
        self.running = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self) -> Any:
        self.runs += 1
        self.running.set()
        await self.go_on.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000)


@pytest.fixture
def instruments() -> Instruments:
    return Instruments(Registry(), "forms")


@pytest.fixture
async def cache(clock: FakeClock, instruments: Instruments) -> AsyncIterator[CacheService]:
    backend = MemoryBackend(max_entries=100, max_bytes=100_000, clock=clock, instruments=instruments)
    service = CacheService(backend, instruments=instruments, policy=EXACT, wall_clock=clock)
    yield service
    await service.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def settled() -> None:
    """Let every task run as far as it gets."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_was_made_once_comes_from_the_cache(cache: CacheService, clock: FakeClock) -> None:
    async def made() -> dict[str, object]:
        return {"id": 7, "titles": ["a", "ü"], "none": None}

    assert await cache.get_or_set("form:7", made, 60) == await made()
    assert await cache.get_or_set("form:7", lambda: 1 / 0, 60) == await made()
    clock.advance(60)
    assert await cache.get_or_set("form:7", lambda: "sync", 60) == "sync"


async def test_of_many_callers_one_has_its_factory_run(cache: CacheService) -> None:
    factory = Factory()
    callers = [asyncio.create_task(cache.get_or_set("a", factory)) for _ in range(100)]
    await factory.running.wait()
    await settled()
    factory.go_on.set()
    assert await asyncio.gather(*callers) == ["made"] * 100
    assert factory.runs == 1


async def test_a_caller_that_is_cancelled_does_not_end_it_for_the_others(cache: CacheService) -> None:
    factory = Factory()
    callers = [asyncio.create_task(cache.get_or_set("a", factory)) for _ in range(3)]
    await factory.running.wait()
    await settled()
    callers[0].cancel()
    await asyncio.wait(callers[:1])
    factory.go_on.set()
    assert await asyncio.gather(*callers[1:]) == ["made", "made"]
    assert (factory.runs, callers[0].cancelled()) == (1, True)


async def test_what_nobody_waits_for_any_more_is_kept_all_the_same(cache: CacheService) -> None:
    factory = Factory()
    caller = asyncio.create_task(cache.get_or_set("a", factory))
    await factory.running.wait()
    caller.cancel()
    await asyncio.wait([caller])
    factory.go_on.set()
    await settled()
    assert await cache.get_or_set("a", lambda: "again") == "made"


async def test_a_factory_that_fails_fails_for_all_that_wait_and_is_run_again_next_time(cache: CacheService) -> None:
    factory = Factory(LookupError("no row"))
    callers = [asyncio.create_task(cache.get_or_set("a", factory)) for _ in range(3)]
    await factory.running.wait()
    await settled()
    factory.go_on.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error) for error in errors] == ["no row"] * 3
    assert await cache.get_or_set("a", lambda: "fine") == "fine"


async def test_none_is_not_kept(cache: CacheService) -> None:
    assert await cache.get_or_set("a", lambda: None) is None
    assert await cache.get_or_set("a", lambda: "there now") == "there now"


async def test_a_stale_value_is_served_while_one_refresh_runs(cache: CacheService, clock: FakeClock) -> None:
    factory = Factory("new")
    assert await cache.get_or_set("a", lambda: "old", 10, stale=30) == "old"
    clock.advance(9)
    assert await cache.get_or_set("a", factory, 10, stale=30) == "old"
    assert factory.runs == 0
    clock.advance(1)
    for _ in range(5):
        assert await cache.get_or_set("a", factory, 10, stale=30) == "old"
        await settled()
    assert factory.runs == 1
    factory.go_on.set()
    await settled()
    assert await cache.get_or_set("a", factory, 10, stale=30) == "new"
    clock.advance(40)
    assert await cache.get_or_set("a", lambda: "newest", 10) == "newest"


async def test_a_refresh_that_fails_is_a_line_in_the_log_and_the_old_value_is_served_on(
    cache: CacheService, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, object]] = []
    monkeypatch.setattr("eggycore.log.warn", lambda message, **fields: said.append((message, fields)))
    for key in "ab":
        await cache.get_or_set(key, lambda: "old", 10, stale=30)
    clock.advance(10)
    for key in "aab":
        assert await cache.get_or_set(key, lambda: 1 / 0, 10, stale=30) == "old"
        await settled()
    told = {"failed": 1, "error": "ZeroDivisionError: division by zero"}
    assert said == [("cached values not refreshed, the old ones are served on", told)]


async def test_a_value_lives_up_to_a_tenth_less_at_random(clock: FakeClock) -> None:
    cache = CacheService(MemoryBackend(max_entries=1000, max_bytes=100_000, clock=clock))
    for number in range(200):
        await cache.get_or_set(str(number), lambda: 1, 100)
    clock.advance(90)
    assert len(await cache.get_many(map(str, range(200)))) == 200
    clock.advance(5)
    assert 30 < len(await cache.get_many(map(str, range(200)))) < 170
    clock.advance(5)
    assert await cache.get_many(map(str, range(200))) == {}
    await cache.close()


async def test_while_the_cache_does_not_answer_few_factories_run_at_once(instruments: Instruments) -> None:
    cache = CacheService(DownBackend(), max_factories=3, instruments=instruments)
    running, most, go_on = 0, 0, asyncio.Event()

    async def factory() -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1
        return "made"

    callers = [asyncio.create_task(cache.get_or_set(str(number), factory)) for number in range(20)]
    await until(lambda: running == 3)
    await settled()
    go_on.set()
    assert await asyncio.gather(*callers) == ["made"] * 20
    assert most == 3
    assert instruments.errors.value >= 20
    await cache.close()


async def test_while_the_cache_does_not_answer_a_factory_may_need_another(instruments: Instruments) -> None:
    cache = CacheService(DownBackend(), max_factories=1, instruments=instruments)

    async def outer() -> str:
        return "outer " + await cache.get_or_set("inner", lambda: "inner")

    async with asyncio.timeout(5):
        assert await asyncio.gather(*(cache.get_or_set(f"{n}", outer) for n in range(5))) == ["outer inner"] * 5
    await cache.close()


async def test_a_factory_that_asks_for_its_own_key_is_told_so(cache: CacheService) -> None:
    async def outer() -> str:
        return await cache.get_or_set("a", lambda: "inner")

    with pytest.raises(FactoryNeedsItself) as told:
        await cache.get_or_set("a", outer)
    assert render(diagnose(told.value)) == (
        "The factory of the cache key 'a' asks for the value of that key.\n"
        "  cause:  It would wait for itself.\n"
        "  action: Have it compute the value, or ask for another key."
    )


@pytest.mark.parametrize("change", ["delete", "delete_many", "clear_prefix", "invalidate", "set"])
async def test_what_was_changed_while_it_was_made_is_not_kept(cache: CacheService, change: str) -> None:
    changes: dict[str, Callable[[], Any]] = {
        "delete": lambda: cache.delete("form:7"),
        "delete_many": lambda: cache.delete_many(["form:7"]),
        "clear_prefix": lambda: cache.clear_prefix("form:"),
        "invalidate": lambda: cache.invalidate("form:7"),
        "set": lambda: cache.set("form:7", b"other"),
    }
    factory, later = Factory("outdated"), Factory("later")
    first = asyncio.create_task(cache.get_or_set("form:7", factory, tags=["form:7"]))
    await factory.running.wait()
    await changes[change]()
    second = asyncio.create_task(cache.get_or_set("form:7", later, tags=["form:7"]))
    async with asyncio.timeout(5):
        await later.running.wait()
        later.go_on.set()
        assert await second == "later"
        factory.go_on.set()
        assert await first == "outdated"
    assert await cache.get_or_set("form:7", lambda: "newest", tags=["form:7"]) == "later"


async def test_what_another_process_invalidated_while_it_was_made_is_not_kept(clock: FakeClock) -> None:
    backend = MemoryBackend(max_entries=100, max_bytes=100_000, clock=clock)
    here, elsewhere = CacheService(backend), CacheService(backend)
    for name in ("first", "second"):  # the tag has no version yet; then it has one
        factory = Factory("outdated")
        caller = asyncio.create_task(here.get_or_set(name, factory, tags=["form:7"]))
        await factory.running.wait()
        await elsewhere.invalidate("form:7")
        factory.go_on.set()
        assert await caller == "outdated"
        assert await here.get_or_set(name, lambda: "new", tags=["form:7"]) == "new"
    await here.close()
    await elsewhere.close()


async def test_closing_ends_the_factories_and_tells_who_waits(cache: CacheService) -> None:
    factory = Factory()
    callers = [asyncio.create_task(cache.get_or_set("a", factory)) for _ in range(2)]
    await factory.running.wait()
    await settled()
    await cache.close()
    async with asyncio.timeout(5):
        errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in errors] == [CacheClosed] * 2
    with pytest.raises(CacheClosed):
        await cache.get_or_set("a", factory)
    await cache.close()


async def test_closing_at_once_ends_a_factory_that_has_not_begun(cache: CacheService) -> None:
    factory = Factory()
    caller = asyncio.create_task(cache.get_or_set("a", factory))
    await asyncio.sleep(0)
    await cache.close()
    with pytest.raises(CacheClosed):
        async with asyncio.timeout(5):
            await caller
    assert factory.runs == 0


async def test_a_value_that_cannot_be_written_is_told_at_once(cache: CacheService) -> None:
    with pytest.raises(NotSerializable) as told:
        await cache.get_or_set("a", lambda: {1, 2})
    assert render(diagnose(told.value)) == (
        "The value for the cache key 'a' is of type set, which the serializer json does not write.\n"
        "  cause:  It says: Type is not JSON serializable: set.\n"
        "  action: Return plain data such as dict, list, str, int, float, bool and None, or use another serializer."
    )


async def test_a_value_that_does_not_fit_is_returned_and_a_line_in_the_log(
    cache: CacheService, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, object]] = []
    monkeypatch.setattr("eggycore.log.warn", lambda message, **fields: said.append({"message": message, **fields}))
    large = "x" * 200_000
    assert await cache.get_or_set("a", lambda: large) == large
    assert said == [
        {
            "message": "computed value not kept",
            "reason": "The value for the cache key 'a' does not fit into the cache.",
            "cause": "With its key it has 200021 bytes, and the cache holds 100000 (CACHE_MAX_SIZE).",
            "action": "Raise CACHE_MAX_SIZE, or cache something smaller.",
        }
    ]


async def test_outcomes_and_factories_are_counted(
    cache: CacheService, clock: FakeClock, instruments: Instruments
) -> None:
    await cache.get_or_set("a", lambda: 1, 10, stale=10)
    await cache.get_or_set("a", lambda: 2, 10, stale=10)
    clock.advance(10)
    await cache.get_or_set("a", lambda: 3, 10, stale=10)
    await settled()
    stats = await cache.stats()
    assert (stats.misses, stats.hits, stats.stale_hits, stats.errors) == (1, 2, 1, 0)
    assert stats.hit_rate == 2 / 3
    assert instruments.factory_seconds.count == 2
