"""What checks ask, and a Health that runs them, for tests of what is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from eggycore.health import Health, ProbeResult
from eggycore.types import HealthCheck


class Dependency:
    """Something a check asks: its answer can be set, and every answer given is counted."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.answer = answer
        self._answered = asyncio.Condition()
        self._count = 0

    async def check(self) -> None:
        async with self._answered:
            self._count += 1
            self._answered.notify_all()
        if self.answer is not None:
            raise self.answer

    async def answers(self, more: int) -> None:
        """Wait until it has answered so many times more, and the results are settled."""
        async with self._answered:
            enough = self._count + more
            await self._answered.wait_for(lambda: self._count >= enough)
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def running(health: Health) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(health.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


@asynccontextmanager
async def ready(health: Health) -> AsyncIterator[Health]:
    async with running(health):
        await health.first_pass()
        health.set_ready(True)
        yield health


def fast(name: str, check: Callable[[], object], **options: Any) -> HealthCheck:
    return HealthCheck(name=name, check=check, **{"interval": 0.001, "timeout": 30.0, **options})


def asked(result: ProbeResult) -> tuple[str, int, dict[str, Any]]:
    body: dict[str, Any] = json.loads(result.body)
    assert body.pop("status") == result.status
    return result.status, result.http_status, body
