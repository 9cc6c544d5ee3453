"""Reads the log of a process for as long as it runs, and tells of every line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.conftest import Instance

Line = dict[str, Any]


@asynccontextmanager
async def following(instance: Instance, took: Callable[[Line], None]) -> AsyncIterator[None]:
    """Call `took` with each line that the process logs until the end of the block."""
    stdout = instance.process.stdout
    assert stdout is not None

    async def read() -> None:
        while raw := await stdout.readline():
            took(json.loads(raw))

    reading = asyncio.create_task(read())
    try:
        yield
    finally:
        reading.cancel()
        await asyncio.wait({reading})
    if not reading.cancelled():
        reading.result()
