"""One run of a factory per key, whoever waits for it: nobody's cancellation ends it for the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any

from eggycore import log
from eggycore.diagnostics import summary
from eggycore_cache.errors import CacheClosed, FactoryCancelled, FactoryNeedsItself
from eggycore_cache.turns import Turn, Turns

__all__ = ["Flight", "Flights"]

REST = 1.0
"""Seconds that a key whose refresh has failed is left alone; the old value is served on."""

TOLD_EVERY = 60.0
"""Seconds between two lines in the log about refreshes that fail."""

_INSIDE: ContextVar[Flight | None] = ContextVar("eggycore_cache_inside", default=None)
"""The flight whose factory this task runs inside."""


class Flight:
    """A value that is being made.

    Args:
        key: Its key.
        tags: What it will carry.
        bounded: Whether the factory waits for its turn.
        outer: The flight whose factory has asked for it, if any.
    """

    def __init__(self, key: str, tags: frozenset[str], *, bounded: bool, outer: Flight | None) -> None:
        self.key = key
        self.tags = tags
        self.bounded = bounded
        self.outer = outer
        self.outdated = False
        """Something was changed after it began: its value is for those who wait already, and not kept."""
        self.waiting = 0
        """Callers that wait for it."""
        self.waits_for: list[Flight] = []
        """Whose values its factory waits for."""
        self.turn = Turn()
        self.landed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.landed.add_done_callback(_looked_at)

    def is_inside(self, key: str) -> bool:
        """Whether this, or a flight that it was asked for by, makes the value of a key."""
        return self.key == key or (self.outer is not None and self.outer.is_inside(key))

    def needs(self, other: Flight) -> bool:
        """Whether it cannot land before another one has."""
        return self is other or any(flight.needs(other) for flight in self.waits_for)


class Flights:
    """The values that are being made now. Belongs to one event loop.

    Args:
        max_factories: How many factories run at once while the cache does not answer.
        observe: Told how many seconds each factory took.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        *,
        max_factories: int,
        observe: Callable[[float], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._turns = Turns(max_factories)
        self._observe = observe
        self._clock = clock
        self._flights: dict[str, Flight] = {}
        self._tasks: dict[asyncio.Task[None], Flight] = {}
        self._resting: dict[str, float] = {}  # until when; the first to end comes first
        self._failed = 0
        self._told_at = float("-inf")
        self._closed = False

    async def join(
        self, key: str, tags: Iterable[str], make: Callable[[Flight], Awaitable[Any]], *, bounded: bool
    ) -> Any:
        """The value that `make` makes, or that another caller has it make already.

        Raises:
            FactoryNeedsItself: This task is inside the factory of this key, or of one that this key's waits for.
            FactoryCancelled: The factory was cancelled, by itself or by what it awaited.
            CacheClosed: The cache is closed, or was while the value was being made.
            Exception: What the factory raised.
        """
        inside, flight = _inside(), self._flights.get(key)
        if inside is not None:
            _check_no_circle(inside, key, flight)
        if flight is None:
            flight = self._start(key, tags, make, bounded=bounded)
        flight.waiting += 1
        if inside is not None:
            inside.waits_for.append(flight)
            flight.turn.hurry()
        try:
            return await asyncio.shield(flight.landed)
        finally:
            flight.waiting -= 1
            if inside is not None:
                inside.waits_for.remove(flight)

    def refresh(self, key: str, tags: Iterable[str], make: Callable[[Flight], Awaitable[Any]]) -> None:
        """Have the value made in the background, unless it is being made or that has just failed."""
        inside = _inside()
        if key in self._flights or self._rests(key) or (inside is not None and inside.is_inside(key)):
            return
        flight = self._start(key, tags, make, bounded=False)
        flight.landed.add_done_callback(lambda landed: self._refreshed(key, landed))

    async def run_factory(self, flight: Flight, factory: Callable[[], Any]) -> Any:
        """What a factory returns, awaited when it is awaitable; in turn when it must."""
        turn: AbstractAsyncContextManager[None] = nullcontext()
        if flight.bounded:
            turn = self._turns.waited_for(flight.turn)
        async with turn:
            if flight.bounded and not flight.waiting:
                raise _Abandoned  # all gave up while it waited for its turn, which is for those who still do
            started = self._clock()
            try:
                value = factory()
                return await value if isawaitable(value) else value
            finally:
                self._observe(self._clock() - started)

    def outdate(self, keys: Iterable[str]) -> None:
        """These keys were changed: what is being made for them is not kept, and who asks now has it made anew."""
        for key in keys:
            if (flight := self._flights.pop(key, None)) is not None:
                flight.outdated = True

    def outdate_prefix(self, prefix: str) -> None:
        """As `outdate`, for the keys that begin with this text."""
        self.outdate([key for key in self._flights if key.startswith(prefix)])

    def outdate_tags(self, tags: Iterable[str]) -> None:
        """As `outdate`, for what will carry one of these tags."""
        tags = frozenset(tags)
        self.outdate([key for key, flight in self._flights.items() if flight.tags & tags])

    async def close(self) -> None:
        """End the factories that run; who waits for one gets `CacheClosed`. Idempotent."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(
        self, key: str, tags: Iterable[str], make: Callable[[Flight], Awaitable[Any]], *, bounded: bool
    ) -> Flight:
        if self._closed:
            raise CacheClosed
        flight = self._flights[key] = Flight(key, frozenset(tags), bounded=bounded, outer=_inside())
        task = asyncio.create_task(self._fly(flight, make), name=f"cache factory {key}")
        self._tasks[task] = flight
        task.add_done_callback(self._ended)
        return flight

    async def _fly(self, flight: Flight, make: Callable[[Flight], Awaitable[Any]]) -> None:
        _INSIDE.set(flight)
        try:
            value = await make(flight)
        except Exception as error:  # noqa: BLE001  # a factory raises what it likes; everybody who waits gets it
            flight.landed.set_exception(error)
        else:
            flight.landed.set_result(value)
        finally:
            self._gone(flight)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Also for a task that was cancelled, perhaps before it began."""
        flight = self._tasks.pop(task)
        self._gone(flight)
        if not flight.landed.done():
            flight.landed.set_exception(CacheClosed() if self._closed else FactoryCancelled(flight.key))

    def _gone(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    # Refreshes that fail

    def _rests(self, key: str) -> bool:
        now = self._clock()
        while self._resting and next(iter(self._resting.values())) <= now:
            del self._resting[next(iter(self._resting))]
        return key in self._resting

    def _refreshed(self, key: str, landed: asyncio.Future[Any]) -> None:
        error = None if landed.cancelled() else landed.exception()
        if error is None or isinstance(error, CacheClosed):
            return
        now = self._clock()
        self._rests(key)  # forgets those that have rested
        self._resting.pop(key, None)
        self._resting[key] = now + REST
        self._failed += 1
        if now - self._told_at >= TOLD_EVERY:
            self._told_at = now
            log.warn(
                "cached values not refreshed, the old ones are served on", failed=self._failed, error=summary(error)
            )
            self._failed = 0


class _Abandoned(Exception):
    """Nobody waits for the value any more, so nobody sees this either."""


def _inside() -> Flight | None:
    """The flight whose factory this task runs inside; a task that a factory has left behind is inside none."""
    flight = _INSIDE.get()
    return None if flight is None or flight.landed.done() else flight


def _check_no_circle(inside: Flight, key: str, flight: Flight | None) -> None:
    if inside.is_inside(key):
        raise FactoryNeedsItself(key)
    if flight is not None and flight.needs(inside):
        raise FactoryNeedsItself(key, inside.key)


def _looked_at(landed: asyncio.Future[Any]) -> None:
    """Nobody may be waiting any more; asyncio need not complain about an error that nobody took."""
    if not landed.cancelled():
        landed.exception()
