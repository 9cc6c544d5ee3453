"""One run of a factory per key, whoever waits for it: nobody's cancellation ends it for the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any

from eggycore import log
from eggycore.diagnostics import summary
from eggycore_cache.errors import CacheClosed, FactoryNeedsItself

__all__ = ["Flight", "Flights"]

_MAKING: ContextVar[frozenset[str]] = ContextVar("eggycore_cache_making", default=frozenset())
"""The keys whose factories this task runs inside."""


class Flight:
    """A value that is being made.

    Args:
        key: Its key.
        tags: What it will carry.
        bounded: Whether the factory waits for its turn.
    """

    def __init__(self, key: str, tags: frozenset[str], *, bounded: bool) -> None:
        self.key = key
        self.tags = tags
        self.bounded = bounded
        self.outdated = False
        """Something was changed after it began: its value is for those who wait already, and not kept."""
        self.landed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.landed.add_done_callback(_looked_at)


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
        self._turns = asyncio.Semaphore(max_factories)
        self._observe = observe
        self._clock = clock
        self._flights: dict[str, Flight] = {}
        self._tasks: dict[asyncio.Task[None], Flight] = {}
        self._closed = False

    async def join(
        self, key: str, tags: Iterable[str], make: Callable[[Flight], Awaitable[Any]], *, bounded: bool
    ) -> Any:
        """The value that `make` makes, or that another caller has it make already.

        Raises:
            FactoryNeedsItself: This task is inside the factory of this key.
            CacheClosed: The cache is closed, or was while the value was being made.
            Exception: What the factory raised.
        """
        if key in _MAKING.get():
            raise FactoryNeedsItself(key)
        flight = self._flights.get(key) or self._start(key, tags, make, bounded=bounded)
        return await asyncio.shield(flight.landed)

    def refresh(self, key: str, tags: Iterable[str], make: Callable[[Flight], Awaitable[Any]]) -> None:
        """Have the value made in the background unless it is being made; a failure is a line in the log."""
        if key not in self._flights and key not in _MAKING.get():
            self._start(key, tags, make, bounded=False).landed.add_done_callback(_failure_logged)

    async def run_factory(self, flight: Flight, factory: Callable[[], Any]) -> Any:
        """What a factory returns, awaited when it is awaitable; in turn when it must."""
        # A factory that another one waits for has that one's turn: waiting for its own could be for ever.
        nested = len(_MAKING.get()) > 1
        async with self._turns if flight.bounded and not nested else nullcontext():
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
        flight = self._flights[key] = Flight(key, frozenset(tags), bounded=bounded)
        task = asyncio.create_task(self._fly(flight, make), name=f"cache factory {key}")
        self._tasks[task] = flight
        task.add_done_callback(self._ended)
        return flight

    async def _fly(self, flight: Flight, make: Callable[[Flight], Awaitable[Any]]) -> None:
        _MAKING.set(_MAKING.get() | {flight.key})
        try:
            value = await make(flight)
        except Exception as error:  # noqa: BLE001  # a factory raises what it likes; everybody who waits gets it
            flight.landed.set_exception(error)
        else:
            flight.landed.set_result(value)
        finally:
            self._gone(flight)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Also for a task that was cancelled before it began."""
        flight = self._tasks.pop(task)
        self._gone(flight)
        if not flight.landed.done():
            flight.landed.set_exception(CacheClosed())

    def _gone(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]


def _looked_at(landed: asyncio.Future[Any]) -> None:
    """Nobody may be waiting any more; asyncio need not complain about an error that nobody took."""
    if not landed.cancelled():
        landed.exception()


def _failure_logged(landed: asyncio.Future[Any]) -> None:
    error = None if landed.cancelled() else landed.exception()
    if error is not None and not isinstance(error, CacheClosed):
        log.warn("cached value not refreshed, the old one is served on", error=summary(error))
