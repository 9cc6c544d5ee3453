"""Read replicas that really replicate: reading from them, their lag, and the primary in their place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import peewee
import pytest

from eggycore.errors import Degraded
from eggycore_db import Database, Model
from eggycore_db.dsn import parse_dsn
from eggycore_db.server import ServerLimits
from tests.servers import (
    MariaDBServer,
    PostgresServer,
    Proxy,
    mariadb_replica,
    mariadb_server,
    postgres_replica,
    postgres_server,
)

AnyServer = PostgresServer | MariaDBServer
PATIENCE = 30.0


class Form(Model):
    title = peewee.CharField()


@pytest.fixture(params=["postgresql", "mariadb"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[AnyServer, AnyServer]]:
    """A primary and a replica that follows it."""
    if request.param == "postgresql":
        with postgres_server() as primary, postgres_replica(primary) as replica:
            yield primary, replica
    else:
        with mariadb_server() as source, mariadb_replica(source) as follower:
            yield source, follower


@pytest.fixture
async def db(pair: tuple[AnyServer, AnyServer]) -> AsyncIterator[Database]:
    """A database with a replica, and one form on both."""
    primary, replica = pair
    async with Database(primary.dsn(), replicas=(parse_dsn(replica.dsn()),)) as database:
        await database.run(database.peewee.create_tables, [Form])
        await database.create(Form, title="a")
        await asyncio.to_thread(replica.catch_up, primary)
        await reads_from(database, replica)
        yield database


def port(db: Database) -> int:
    sql = "SELECT inet_server_port()" if db.kind == "postgresql" else "SELECT @@port"
    found: int = db.peewee.execute_sql(sql).fetchone()[0]  # type: ignore[no-untyped-call]  # peewee's stubs lack its types
    return found


async def read_port(db: Database) -> int:
    """Which server answers what `reader` is asked."""
    kind = "SELECT inet_server_port()" if db.kind == "postgresql" else "SELECT @@port"
    return int(await db.reader.scalar(peewee.Select(columns=[peewee.SQL(kind.removeprefix("SELECT "))])))


async def reads_from(db: Database, server: AnyServer) -> None:
    async with asyncio.timeout(PATIENCE):
        while await read_port(db) != server.port:
            await asyncio.sleep(0.02)


async def test_the_reader_asks_the_replica_and_everything_else_the_primary(
    db: Database, pair: tuple[AnyServer, AnyServer]
) -> None:
    primary, replica = pair
    assert await db.run(port, db) == await db.read(port, db) == primary.port
    assert await read_port(db) == replica.port
    assert (await db.reader.get(Form, 1)).title == "a"
    assert [form.title for form in await db.reader.list(Form.select())] == ["a"]
    assert [form.title async for form in db.reader.iterate(Form.select())] == ["a"]
    assert await db.reader.read(lambda: Form.select().count()) == 1
    assert await db.reader.exists(Form.select())


async def test_the_lag_of_a_replica_is_seen(db: Database) -> None:
    async with asyncio.timeout(PATIENCE):
        while list((await db.reader.lags()).values()) != [0.0]:
            await asyncio.sleep(0.02)
    await db.reader.check()


async def test_a_replica_that_is_down_is_replaced_by_the_primary_and_comes_back(
    db: Database, pair: tuple[AnyServer, AnyServer]
) -> None:
    primary, replica = pair
    await asyncio.to_thread(replica.kill)
    for _ in range(5):
        assert await read_port(db) == primary.port
    location = db.reader.replicas[0].location
    with pytest.raises(Degraded, match=f"{location} does not answer or replicate"):
        await db.reader.check()
    await db.check()
    await asyncio.to_thread(replica.start)
    await reads_from(db, replica)
    await db.reader.check()


async def test_a_replica_that_is_not_up_at_the_start_is_used_once_it_is(pair: tuple[AnyServer, AnyServer]) -> None:
    primary, replica = pair
    await asyncio.to_thread(replica.stop)
    async with Database(primary.dsn(), replicas=(parse_dsn(replica.dsn()),)) as db:
        assert await read_port(db) == primary.port
        with pytest.raises(Degraded):
            await db.reader.check()
        await asyncio.to_thread(replica.start)
        await reads_from(db, replica)


async def test_a_replica_that_has_fallen_silent_is_read_no_more(pair: tuple[AnyServer, AnyServer]) -> None:
    primary, replica = pair
    async with Proxy(replica.host, replica.port) as proxy:
        dsn = replica.dsn().replace(f":{replica.port}/", f":{proxy.port}/")
        limits = ServerLimits(connect=2.0)
        async with Database(primary.dsn(), replicas=(parse_dsn(dsn),), server=limits) as db:
            await reads_from(db, replica)
            await proxy.black_hole()
            with pytest.raises(Degraded, match="does not answer"):
                await db.reader.check()
            await reads_from(db, primary)
            await proxy.cut()
            await proxy.forward()
            await reads_from(db, replica)


async def test_a_replica_that_stopped_replicating_is_told(db: Database, pair: tuple[AnyServer, AnyServer]) -> None:
    _, replica = pair
    if isinstance(replica, MariaDBServer):
        replica.execute("STOP SLAVE")
        with pytest.raises(Degraded, match="does not answer or replicate"):
            await db.reader.check()
    else:
        await asyncio.to_thread(replica.promote)
        assert list((await db.reader.lags()).values()) == [0.0]  # it is a primary now, and nothing behind


async def test_doctor_is_told_of_versions_room_and_lag(db: Database) -> None:
    db.resize(type(db.limits)(max_open=20))
    findings = await db.examine(replicas=2)
    version, connections, lag = findings
    name = "PostgreSQL" if db.kind == "postgresql" else "MySQL protocol,"
    assert (version.subject, version.state) == ("database default", "ok")
    assert version.text.startswith(f"{name} ")
    most = 97 if db.kind == "postgresql" else 151
    assert (connections.state, connections.text) == (
        "ok",
        f"20 connections times 2 replicas is 40, and the server gives {most}.",
    )
    assert (lag.state, lag.text) == ("ok", f"The replica {db.reader.replicas[0].location} is 0 s behind.")
    _, connections, _ = await db.examine(replicas=10)
    assert (connections.state, connections.action) == (
        "warning",
        f"Set DATABASE_MAX_OPEN_CONNS to at most {most // 10}, or raise the server's max_connections.",
    )
