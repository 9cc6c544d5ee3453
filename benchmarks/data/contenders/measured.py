"""What every contender runs: it opens what it measures, then measures on command until its stdin ends.

A contender says "ready", then takes lines on stdin and answers each with one on stdout:

    get 32 0.5                  32 tasks that do nothing but "get" for half a second
    3211 0.5021 0.4873          so many were done, in so many seconds, with so many seconds of CPU time in all threads
"""

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NoReturn

import uvloop

Operation = Callable[[], Awaitable[object]]

POOL = 8
"""Connections that every contender has to its database."""

ROWS = 1000
"""Rows that are there to be read, with the ids 1 to 1000."""

KEYS = range(1000)
"""Of the values in a cache."""

SIZES = (100, 10_000)
"""Bytes of a value."""

TTL = 600
"""Seconds to live of every value in a cache."""

FORM = {
    "title": "Survey of the year",
    "description": "What people think of the office, in ten questions and one page of free text. " * 3,
    "version": 3,
    "created_at": datetime(2026, 11, 21, 12, 30, 15, 123456),
}
"""What is inserted, and what every row that is read was made of."""


def serve(opened: AbstractAsyncContextManager[Mapping[str, Operation]], *, batch: int = 1) -> None:
    """Measure on command.

    Args:
        opened: Gives the operations by name; has shown that they do what they are measured for.
        batch: Operations between two looks at the clock, for those that take no longer than looking.
    """
    uvloop.run(_serve(opened, batch))


def check(same: bool, what: str) -> None:
    """Raise unless it is so.

    Raises:
        RuntimeError: The contender does something else than it is measured for.
    """
    if not same:
        raise RuntimeError(f"{sys.argv[0]}: {what}")


def missed() -> NoReturn:
    """End the measuring: a cache that answers "not there" because it is away would seem fast.

    Raises:
        RuntimeError: Always.
    """
    raise RuntimeError(f"{sys.argv[0]}: the cache did not find or keep a value")


def value_of(size: int) -> bytes:
    """So many bytes, as a value of a cache."""
    return bytes(65 + place % 26 for place in range(size))


async def _serve(opened: AbstractAsyncContextManager[Mapping[str, Operation]], batch: int) -> None:
    async with opened as operations:
        print("ready", flush=True)
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while words := (await lines.readline()).decode().split():
            done, seconds, cpu = await _measure(operations[words[0]], int(words[1]), float(words[2]), batch)
            print(done, seconds, cpu, flush=True)


async def _measure(operation: Operation, tasks: int, seconds: float, batch: int) -> tuple[int, float, float]:
    async def work() -> int:
        done = 0
        while time.perf_counter() < end:
            for _ in range(batch):
                await operation()
            done += batch
        return done

    gc.collect()
    cpu, began = time.process_time(), time.perf_counter()
    end = began + seconds
    done = sum(await asyncio.gather(*(work() for _ in range(tasks))))
    return done, time.perf_counter() - began, time.process_time() - cpu
