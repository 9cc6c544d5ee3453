"""A process under load whose database server dies, is restarted or falls silent: what clients, probes and log see."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.e2e.traffic import Answers, ask, load, request
from tests.servers import MariaDBServer, PostgresServer, mariadb_server, postgres_server

Start = Callable[..., Awaitable[Any]]
AnyServer = PostgresServer | MariaDBServer

CLIENTS = 12
POOL = 6
PATIENCE = 30.0
QUERY_TIMEOUT, ACQUIRE_TIMEOUT = 2.0, 4.0


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """A server of the test's own; what it has committed, a kill does not take back."""
    durable = postgres_server(options={"synchronous_commit": "on"})
    with durable if request.param == "postgresql" else mariadb_server() as one:
        yield one


class Watched:
    """A process under load."""

    def __init__(self, instance: Any, answers: Answers) -> None:
        self.instance = instance
        self.answers = answers

    async def is_ready(self) -> bool:
        return (await ask(self.instance.addresses["HEALTH_CHECK_PORT"], "GET", "/readyz"))[0] == 200

    async def ready_becomes(self, wanted: bool) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.is_ready() != wanted:
                await asyncio.sleep(0.05)

    async def answers_come(self, status: int, count: int = 100) -> None:
        """Wait until so many more answers with this status have come."""
        goal = self.answers.statuses[status] + count
        async with asyncio.timeout(PATIENCE):
            while self.answers.statuses[status] < goal:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def under_load(start: Start, server: AnyServer) -> AsyncIterator[Watched]:
    """A process whose clients read and write; at the end every answered write must be in the database."""
    instance = await start(
        "data_app",
        "--plugins",
        "db",
        DATABASE_DSN=server.dsn(),
        DATABASE_MAX_OPEN_CONNS=f"{POOL}",
        DATABASE_CONNECT_TIMEOUT="2s",
        DATABASE_ACQUIRE_TIMEOUT=f"{ACQUIRE_TIMEOUT}s",
        DATABASE_STATEMENT_TIMEOUT="1s",
        DATABASE_QUERY_TIMEOUT=f"{QUERY_TIMEOUT}s",
        HTTP_ACCESS_LOG="false",
    )
    await instance.until("ready")
    reading = asyncio.create_task(instance.rest())
    requests = itertools.cycle([request("POST", "/forms"), request("GET", "/forms")])
    watched = Watched(instance, Answers())
    async with load([lambda: instance.addresses["http"]] * CLIENTS, lambda: next(requests), watched.answers):
        await watched.answers_come(200)
        yield watched
    instance.signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        await reading
    assert instance.process.returncode == 0
    assert watched.answers.broken == []
    assert watched.answers.statuses.keys() <= {200, 503}
    assert watched.answers.slowest < ACQUIRE_TIMEOUT + QUERY_TIMEOUT + 2
    stored = {number for (number,) in server.execute("SELECT id FROM form", name="test")}
    assert len(set(watched.answers.written)) == len(watched.answers.written)
    assert set(watched.answers.written) <= stored


def messages(instance: Any) -> Counter[str]:
    """How often each warning, error and recovery was said."""
    return Counter(line["message"] for line in instance.lines)


def one_outage_was_told(instance: Any, seconds: float) -> None:
    """The log tells the beginning and the end once, and no more than a few lines a second between them."""
    said = messages(instance)
    assert said["the database cannot be used, work is refused"] == 1
    assert said["the database can be used again"] == 1
    assert said["a query failed"] <= 2 * POOL
    assert said["request not served"] <= 15 * (seconds + 2)  # at most three reasons, five lines each
    assert not [line for line in instance.lines if "exception" in line]
    (down,) = instance.said("the database cannot be used, work is refused")
    (up,) = instance.said("the database can be used again")
    assert down["level"] == "warn"
    assert down["reason"].startswith(down["location"])
    assert up["seconds"] > 0


async def test_a_server_that_dies_and_comes_back(start: Start, server: AnyServer) -> None:
    loop = asyncio.get_running_loop()
    async with under_load(start, server) as watched:
        began = loop.time()
        await asyncio.to_thread(server.kill)
        await watched.ready_becomes(False)
        await watched.answers_come(503)
        target = "{}:{}".format(*watched.instance.addresses["grpc"])
        async with grpc.aio.insecure_channel(target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary("/data.Data/Create")(b"")
        status, body = await ask(watched.instance.addresses["http"], "POST", "/forms")
        await asyncio.to_thread(server.start)
        await watched.answers_come(200)
        await watched.ready_becomes(True)
        took = loop.time() - began
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert refused.value.details() == "The database cannot be used now."
    assert status == 503
    assert b"127.0.0.1" not in body
    assert str(server.port).encode() not in body
    assert b"The database cannot be used now." in body
    one_outage_was_told(watched.instance, took)


async def test_a_server_that_is_restarted(start: Start, server: AnyServer) -> None:
    async with under_load(start, server) as watched:
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        await watched.answers_come(200, 500)
    assert messages(watched.instance)["the database cannot be used, work is refused"] <= 2


async def test_a_server_that_falls_silent_and_goes_on(start: Start, server: AnyServer) -> None:
    loop = asyncio.get_running_loop()
    async with under_load(start, server) as watched:
        began = loop.time()
        await asyncio.to_thread(server.pause)
        await watched.ready_becomes(False)
        await watched.answers_come(503)
        await asyncio.to_thread(server.resume)
        await watched.answers_come(200)
        await watched.ready_becomes(True)
        took = loop.time() - began
    one_outage_was_told(watched.instance, took)
