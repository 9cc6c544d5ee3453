"""What the tests of the HTTP server share: a handler that waits, and turns of the event loop."""

from __future__ import annotations

import asyncio

LONG = 10.0
"""Seconds after which a test that waits is broken."""


class Gate:
    """A handler that waits until it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()

    async def __call__(self, request):
        self.entered.set()
        await self.leave.wait()
        return {}


async def turns(count=20):
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)
