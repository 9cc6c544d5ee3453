"""Factories that need one another, wait for their turn, are cancelled, abandoned, or leave tasks behind."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.testing import FakeClock
from eggycore_cache import CacheClosed, CacheService
from eggycore_cache.errors import FactoryCancelled, FactoryNeedsItself
from eggycore_cache.flights import REST, TOLD_EVERY, Flight, Flights
from eggycore_cache.memory import MemoryBackend

DownBackend = import_module("plugins.eggycore-cache.tests.down_backend").DownBackend

REQUEST: ContextVar[str] = ContextVar("request", default="")


@pytest.fixture
async def cache() -> AsyncIterator[CacheService]:
    service = CacheService(MemoryBackend(max_entries=5000, max_bytes=1_000_000))
    yield service
    await service.close()


@pytest.fixture
async def down() -> AsyncIterator[CacheService]:
    service = CacheService(DownBackend(), max_factories=1)
    yield service
    await service.close()


async def settled() -> None:
    """Let every task run as far as it gets."""
    for _ in range(30):
        await asyncio.sleep(0)


def starting(call: Awaitable[Any]) -> asyncio.Future[Any]:
    return asyncio.ensure_future(call)


class Gate:
    """A factory that begins, and goes on when it is let."""

    def __init__(self, then: Callable[[], Any] = lambda: "made") -> None:
        self.then = then
        self.runs = 0
        self.begun = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self) -> Any:
        self.runs += 1
        self.begun.set()
        await self.open.wait()
        value = self.then()
        return await value if isinstance(value, Awaitable) else value


async def test_a_thousand_callers_cost_one_run_whoever_of_them_gives_up(cache: CacheService) -> None:
    gate = Gate()
    callers = [starting(cache.get_or_set("a", gate)) for _ in range(1000)]
    await gate.begun.wait()
    await settled()
    for gone in (callers[0], callers[500], callers[-1]):
        gone.cancel()
    gate.open.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert (answers.count("made"), gate.runs) == (997, 1)


async def test_an_error_that_many_share_does_not_grow(cache: CacheService) -> None:
    gate = Gate(lambda: 1 / 0)
    callers = [starting(cache.get_or_set("a", gate)) for _ in range(200)]
    await gate.begun.wait()
    gate.open.set()
    depths = [len(traceback.extract_tb(error.__traceback__)) for error in await _errors(callers)]
    assert len(depths) == 200
    assert max(depths) < 15


async def _errors(callers: list[asyncio.Future[Any]]) -> list[BaseException]:
    return [each for each in await asyncio.gather(*callers, return_exceptions=True) if isinstance(each, BaseException)]


async def test_a_factory_that_is_cancelled_is_told_from_a_cache_that_is_closed(cache: CacheService) -> None:
    async def cancelled() -> None:
        other = asyncio.create_task(asyncio.Event().wait())
        other.cancel()
        await other

    with pytest.raises(FactoryCancelled) as told:
        await cache.get_or_set("a", cancelled)
    assert render(diagnose(told.value)) == (
        "The factory of the cache key 'a' was cancelled.\n"
        "  cause:  Something that it awaited was cancelled, or it cancelled itself.\n"
        "  action: Let it raise an error of its own where that can happen."
    )
    assert await cache.get_or_set("a", lambda: "fine") == "fine"


async def test_two_factories_that_need_each_other_are_told_so(cache: CacheService) -> None:
    first = Gate(lambda: cache.get_or_set("b", lambda: "b"))
    second = Gate(lambda: cache.get_or_set("a", lambda: "a"))
    callers = [starting(cache.get_or_set("a", first)), starting(cache.get_or_set("b", second))]
    await asyncio.gather(first.begun.wait(), second.begun.wait())
    first.open.set()
    await settled()
    second.open.set()
    async with asyncio.timeout(5):
        errors = await _errors(callers)
    assert [type(error) for error in errors] == [FactoryNeedsItself] * 2
    assert render(diagnose(errors[0])) == (
        "A factory that the cache key 'a' waits for asks for the value of that key.\n"
        "  cause:  It is that of 'b', and they would wait for each other.\n"
        "  action: Have it compute the value, or ask for another key."
    )


async def test_a_factory_that_deletes_its_own_key_and_asks_for_it_is_told_so_too(cache: CacheService) -> None:
    async def factory() -> Any:
        await cache.delete("a")
        return await cache.get_or_set("a", factory)

    with pytest.raises(FactoryNeedsItself):
        async with asyncio.timeout(5):
            await cache.get_or_set("a", factory)


async def test_a_task_that_a_factory_has_left_behind_may_ask_for_its_key(cache: CacheService) -> None:
    asks = asyncio.Event()
    left: list[asyncio.Task[Any]] = []

    async def asked_later() -> Any:
        await asks.wait()
        await cache.delete("a")
        return await cache.get_or_set("a", lambda: "again")

    async def factory() -> str:
        left.append(asyncio.create_task(asked_later()))
        return "made"

    assert await cache.get_or_set("a", factory) == "made"
    asks.set()
    assert await left[0] == "again"


async def test_a_factory_with_the_only_turn_may_need_one_that_waits_for_its_turn(down: CacheService) -> None:
    outer = Gate(lambda: down.get_or_set("inner", lambda: "inner"))
    first = starting(down.get_or_set("outer", outer))
    await outer.begun.wait()
    second = starting(down.get_or_set("inner", lambda: "inner"))
    await settled()
    assert not second.done()
    outer.open.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(first, second) == ["inner", "inner"]


async def test_turns_come_in_order_and_nobody_takes_one_for_callers_that_gave_up(down: CacheService) -> None:
    order: list[int] = []
    gate = Gate()
    first = starting(down.get_or_set("first", gate))
    await gate.begun.wait()
    callers = [
        starting(down.get_or_set(f"{number}", lambda number=number: order.append(number))) for number in range(6)
    ]
    await settled()
    callers[1].cancel()
    callers[4].cancel()
    await settled()
    gate.open.set()
    await asyncio.gather(first, *callers, return_exceptions=True)
    assert order == [0, 2, 3, 5]


async def test_a_factory_whose_caller_gave_up_is_run_for_the_one_that_came_later(down: CacheService) -> None:
    gate, wanted = Gate(), Gate()
    wanted.open.set()
    first = starting(down.get_or_set("first", gate))
    await gate.begun.wait()
    given_up = starting(down.get_or_set("a", wanted))
    await settled()
    given_up.cancel()
    later = starting(down.get_or_set("a", wanted))
    await settled()
    gate.open.set()
    assert await asyncio.gather(first, later) == ["made", "made"]
    assert wanted.runs == 1


async def test_closing_ends_those_that_wait_for_their_turn(down: CacheService) -> None:
    gate = Gate()
    callers = [starting(down.get_or_set(key, gate)) for key in "abc"]
    await gate.begun.wait()
    await settled()
    await down.close()
    assert [type(error) for error in await _errors(callers)] == [CacheClosed] * 3
    assert gate.runs == 1


async def test_a_factory_runs_in_the_context_of_the_caller_that_it_was_started_for(cache: CacheService) -> None:
    seen: list[str] = []
    gate = Gate(lambda: seen.append(REQUEST.get()))

    async def request(name: str) -> None:
        REQUEST.set(name)
        await cache.get_or_set("a", gate)
        seen.append(REQUEST.get())

    callers = [starting(request(name)) for name in ("first", "second")]
    await gate.begun.wait()
    await settled()
    gate.open.set()
    await asyncio.gather(*callers)
    assert seen == ["first", "first", "second"]


async def test_a_refresh_that_failed_rests_and_the_log_stays_short(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said, runs = FakeClock(), [], []
    monkeypatch.setattr("eggycore.log.warn", lambda message, **fields: said.append(fields))
    flights = Flights(max_factories=1, observe=lambda seconds: None, clock=clock)

    async def make(flight: Flight) -> None:
        runs.append(flight.key)
        raise LookupError("no row")

    async def refreshed(key: str) -> None:
        flights.refresh(key, (), make)
        await settled()

    for key in ("a", "a", "b", "a", "b"):
        await refreshed(key)
    assert runs == ["a", "b"]
    clock.advance(REST)
    await refreshed("a")
    assert (runs, len(flights._resting)) == (["a", "b", "a"], 1)
    assert said == [{"failed": 1, "error": "LookupError: no row"}]
    clock.advance(TOLD_EVERY)
    await refreshed("c")
    assert said[1:] == [{"failed": 3, "error": "LookupError: no row"}]
    await flights.close()


async def test_nothing_is_left_of_flights_that_have_ended(
    cache: CacheService, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "asyncio"):
        for number in range(200):
            await cache.get_or_set(f"{number}", lambda: 1)
            with pytest.raises(ZeroDivisionError):
                await cache.get_or_set(f"fails {number}".replace(" ", "-"), lambda: 1 / 0)
        await settled()
    assert (cache.flights._flights, cache.flights._tasks, cache.flights._resting) == ({}, {}, {})
    assert caplog.records == []
