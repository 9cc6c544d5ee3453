"""The sample app under load whose cache server dies, is restarted or falls silent: no client notices."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.traffic import Answers, load, request
from tests.servers import MemcachedServer, RedisServer, memcached_server, redis_server

Start = Callable[..., Awaitable[Any]]
AnyCache = RedisServer | MemcachedServer

CLIENTS = 12
PATIENCE = 30.0
PATH = "/api/v1/forms"


@pytest.fixture(params=["redis", "memcached"])
def server(request: pytest.FixtureRequest) -> Iterator[AnyCache]:
    """A cache of the test's own."""
    with redis_server() if request.param == "redis" else memcached_server() as one:
        yield one


def break_and_mend(server: AnyCache, how: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """What takes the server away, and what brings it back."""
    return (server.pause, server.resume) if how == "pause" else (server.kill, server.start)


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_cache_that_goes_and_comes_back(
    start: Start, server: AnyCache, postgres_dsn: str, tmp_path: Path, how: str
) -> None:
    url = server.dsn() if isinstance(server, RedisServer) else f"memcached://{server.address}"
    instance = await start(
        "sample_app",
        "--plugins",
        "db,cache",
        folder=tmp_path,
        DATABASE_DSN=postgres_dsn,
        CACHE_URL=url,
        HTTP_ACCESS_LOG="false",
        ENABLE_BUSINESS_GRPC="false",
    )
    await instance.until("ready")
    reading = asyncio.create_task(instance.rest())
    numbers = itertools.count()
    answers = Answers()

    def next_request() -> bytes:
        number = next(numbers)
        if number % 10 == 0 or not answers.written:
            return request("POST", PATH, {"title": f"form {number}"})
        return request("GET", f"{PATH}/{answers.written[-1 - number % min(len(answers.written), 50)]}")

    async def more(count: int = 500) -> None:
        goal = answers.statuses.total() + count
        async with asyncio.timeout(PATIENCE):
            while answers.statuses.total() < goal:
                await asyncio.sleep(0.02)

    take_away, bring_back = break_and_mend(server, how)
    async with load([lambda: instance.addresses["http"]] * CLIENTS, next_request, answers):
        await more()
        await asyncio.to_thread(take_away)
        await more(1500)
        await asyncio.to_thread(bring_back)
        await more()
    instance.signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        await reading
    assert instance.process.returncode == 0
    assert answers.broken == []
    assert answers.statuses.keys() == {200, 201}
    assert answers.slowest < 3
    told = [line["message"] for line in instance.lines if line["level"] in ("warn", "error")]
    assert 1 <= len(told) <= 10, told
