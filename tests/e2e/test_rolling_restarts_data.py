"""Two instances of the sample app on a database and a cache, restarted one by one: nothing fails, nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import peewee
import pytest

from eggycore_db import Database
from tests.e2e.traffic import Answers, ask, load, request
from tests.servers import MemcachedServer

Start = Callable[..., Awaitable[Any]]

RESTARTS = 3
CLIENTS = 12
PATH = "/api/v1/forms"


@pytest.fixture(params=["postgresql and redis", "mariadb and memcached"])
def environ(request: pytest.FixtureRequest, memcached_session: MemcachedServer) -> dict[str, str]:
    """Where the instances keep their data; what lives for the whole session is there before the test begins."""
    if request.param == "postgresql and redis":
        prefix = request.getfixturevalue("redis_prefix").removesuffix(":")
        place = {"DATABASE_DSN": request.getfixturevalue("postgres_dsn"), "CACHE_NAMESPACE": prefix}
        return place | {"CACHE_URL": request.getfixturevalue("redis_url")}
    place = {"DATABASE_DSN": request.getfixturevalue("mariadb_dsn"), "CACHE_NAMESPACE": "rolling"}
    return place | {"CACHE_URL": f"memcached://{request.getfixturevalue('memcached_address')}"}


class Fleet:
    """Instances of the sample app, and which of them are ready."""

    def __init__(self, start: Start, folder: Path, environ: dict[str, str]) -> None:
        self._start = start
        self._folder = folder
        self._environ = environ
        self._turn = itertools.count()
        self.instances: list[Any] = []
        self.routed: list[Any] = []

    async def grow(self) -> None:
        instance = await self._start(
            "sample_app",
            "--plugins",
            "db,cache",
            folder=self._folder,
            SHUTDOWN_DRAIN_DELAY="500ms",
            HTTP_ACCESS_LOG="false",
            ENABLE_BUSINESS_GRPC="false",
            **self._environ,
        )
        await instance.until("ready")
        self.instances.append(instance)

    async def restart_oldest(self) -> None:
        await self.grow()
        oldest = self.instances[0]
        oldest.signal(signal.SIGTERM)
        await oldest.until("stopping")
        self.instances.remove(oldest)
        assert await oldest.ended() == 0, oldest.lines
        (summary,) = oldest.said("stopped")
        assert summary["cut"] == 0
        assert [line for line in oldest.lines if line["level"] in ("warn", "error")] == []

    async def route(self) -> None:
        """Look for ever at who is ready."""
        while True:
            for instance in [*self.routed, *self.instances]:
                if not await _ready(instance):
                    if instance in self.routed:
                        self.routed.remove(instance)
                elif instance not in self.routed:
                    self.routed.append(instance)
            await asyncio.sleep(0.05)

    def client(self) -> Callable[[], tuple[str, int]]:
        number = next(self._turn)
        return lambda: self.routed[number % len(self.routed)].addresses["http"]


async def _ready(instance: Any) -> bool:
    try:
        status, _ = await ask(instance.addresses["HEALTH_CHECK_PORT"], "GET", "/readyz")
    except (OSError, asyncio.IncompleteReadError):
        return False
    return status == 200


async def test_every_form_that_was_created_is_there_once_and_no_request_fails(
    start: Start, environ: dict[str, str], tmp_path: Path
) -> None:
    fleet = Fleet(start, tmp_path, environ)
    await fleet.grow()
    await fleet.grow()
    fleet.routed += fleet.instances
    titles = itertools.count()
    sent = 0

    def next_request() -> bytes:
        nonlocal sent
        number = next(titles)
        if number % 3 == 0 or not answers.written:
            sent += 1
            return request("POST", PATH, {"title": f"form {number}"})
        return request("GET", f"{PATH}/{answers.written[-1 - number % min(len(answers.written), 50)]}")

    routing = asyncio.create_task(fleet.route())
    answers = Answers()
    async with load([fleet.client() for _ in range(CLIENTS)], next_request, answers):
        for _ in range(RESTARTS):
            await fleet.restart_oldest()
    routing.cancel()
    with suppress(asyncio.CancelledError):
        await routing
    assert answers.broken == []
    assert answers.statuses.keys() == {200, 201}
    assert answers.statuses[201] > 200
    assert answers.statuses[200] > 400
    ids, kinds = await _stored(environ["DATABASE_DSN"])
    assert len(set(answers.written)) == len(answers.written)
    assert set(answers.written) <= set(ids)
    assert kinds == len(ids) <= sent


async def _stored(dsn: str) -> tuple[list[int], int]:
    """The ids of all forms, and how many different titles they have."""
    table = peewee.Table("forms", ("id", "title"))
    async with Database(dsn) as db:
        rows = await db.list(table.select(table.id, table.title).tuples())
    return [id for id, _ in rows], len({title for _, title in rows})
