"""Servers that die, fall silent, fill up or change under an open database; every one is a real one."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import peewee
import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.errors import CheckFailed, Degraded
from eggycore_db import (
    Database,
    DatabaseUnavailable,
    Model,
    PoolExhausted,
    PoolLimits,
    QueryTimeout,
)
from eggycore_db.dsn import parse_dsn
from eggycore_db.server import ServerLimits
from tests.servers import MariaDBServer, PostgresServer, Proxy, mariadb_server, postgres_server
from tests.servers.processes import wait_until

PATIENCE = 30.0
CLOSING = 3.0
"""Seconds that close() may take while the network is gone."""

AnyServer = PostgresServer | MariaDBServer


class Form(Model):
    title = peewee.CharField()


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """A server of the test's own, to be broken."""
    with postgres_server() if request.param == "postgresql" else mariadb_server() as one:
        yield one


SLEEP = {"postgresql": "SELECT pg_sleep({})", "mysql": "SELECT SLEEP({})"}


def sleep_in_database(db: Database, seconds: float) -> object:
    cursor = db.peewee.execute_sql(SLEEP[db.kind].format(seconds))  # type: ignore[no-untyped-call]  # peewee's stubs lack its types
    return cursor.fetchall()


async def number(db: Database) -> object:
    return await db.scalar(peewee.Select(columns=[peewee.SQL("7")]))


async def works_again(db: Database) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert await number(db) == 7
                await db.check()
                return
            except (DatabaseUnavailable, CheckFailed, Degraded):
                await asyncio.sleep(0.02)


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def open_connections(db: Database, count: int) -> None:
    """Have that many connections in the pool, all idle afterwards."""
    together = threading.Barrier(count)
    await asyncio.gather(*(db.run(together.wait, 10) for _ in range(count)))
    await becomes(lambda: db.pools[0].starting == 0)  # one more may have been begun while they were made
    assert db.pools[0].open_connections >= count


async def check_fails(db: Database) -> CheckFailed:
    with pytest.raises(CheckFailed) as failed:
        await db.check()
    return failed.value


@asynccontextmanager
async def behind_a_proxy(
    server: AnyServer, *, limits: PoolLimits | None = None, timeouts: ServerLimits | None = None
) -> AsyncIterator[tuple[Database, Proxy]]:
    async with Proxy(server.host, server.port) as proxy:
        dsn = server.dsn().replace(f":{server.port}/", f":{proxy.port}/")
        db = Database(dsn, pool=limits, server=timeouts or ServerLimits(connect=2.0))
        async with db:
            yield db, proxy


async def test_connections_that_the_server_closed_while_nobody_used_them_are_replaced_unseen(
    server: AnyServer,
) -> None:
    async with Database(server.dsn()) as db:
        await open_connections(db, 3)
        await asyncio.to_thread(disconnect, server)
        for _ in range(5):
            assert await number(db) == 7
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        for _ in range(5):
            assert await number(db) == 7
        async with db.transaction():
            assert await number(db) == 7
        await db.check()


def disconnect(server: AnyServer) -> None:
    """End every session, and wait until they are gone."""
    server.disconnect_clients()
    count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    if isinstance(server, MariaDBServer):
        count = "SELECT count(*) FROM information_schema.processlist WHERE command NOT IN ('Daemon', 'Binlog Dump')"
    wait_until(lambda: server.execute(count) == [(1,)])


async def test_a_server_that_is_killed_in_the_middle_of_queries(server: AnyServer) -> None:
    async with Database(server.dsn(), pool=PoolLimits(max_open=4)) as db:
        await open_connections(db, 4)
        running = [asyncio.create_task(db.run(sleep_in_database, db, 60)) for _ in range(6)]
        await becomes(lambda: db.pools[0].in_use == 4 and db.pools[0].waiting == 2)
        await asyncio.to_thread(server.kill)
        outcomes = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(outcome, DatabaseUnavailable) for outcome in outcomes), outcomes
        with pytest.raises(DatabaseUnavailable):
            async with db.transaction():
                await number(db)
        await asyncio.to_thread(server.start)
        await works_again(db)
        assert db.pools[0].open_connections <= 4


async def test_a_server_that_refuses_is_red_at_once_and_work_is_refused_at_once(server: AnyServer) -> None:
    async with Database(server.dsn()) as db:
        await open_connections(db, 2)
        await asyncio.to_thread(server.kill)
        failed = await check_fails(db)
        assert failed.certain
        assert "Nothing listens there" in failed.reason
        began = time.monotonic()
        for _ in range(50):
            with pytest.raises(DatabaseUnavailable) as refused:
                await number(db)
        assert time.monotonic() - began < 2.0
        assert refused.value.trouble == "refused"
        await asyncio.to_thread(server.start)
        await works_again(db)


async def test_a_network_that_swallows_everything(server: AnyServer) -> None:
    async with behind_a_proxy(server, limits=PoolLimits(max_open=4)) as (db, proxy):
        await open_connections(db, 2)
        await proxy.black_hole()
        hanging = [asyncio.create_task(number(db)) for _ in range(2)]
        failed = await check_fails(db)
        assert failed.reason == "no answer within 1.5 s"
        await becomes(lambda: db.pools[0].trouble is not None)
        assert (await check_fails(db)).certain
        outcomes = await asyncio.gather(*hanging, return_exceptions=True)
        assert all(isinstance(outcome, DatabaseUnavailable) for outcome in outcomes), outcomes
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await number(db)
        assert time.monotonic() - began < 0.5
        await proxy.cut()
        await proxy.forward()
        await works_again(db)


async def test_a_network_that_swallows_everything_while_every_connection_is_busy(server: AnyServer) -> None:
    async with behind_a_proxy(server, limits=PoolLimits(max_open=2)) as (db, proxy):
        await open_connections(db, 2)
        await proxy.black_hole()
        hanging = [asyncio.create_task(number(db)) for _ in range(5)]
        with pytest.raises(Degraded, match="every connection is busy"):
            await db.check()
        await becomes(lambda: db.pools[0].trouble is not None)
        outcomes = await asyncio.gather(*hanging, return_exceptions=True)
        assert all(isinstance(outcome, DatabaseUnavailable) for outcome in outcomes), outcomes
        await proxy.cut()
        await proxy.forward()
        await works_again(db)


async def test_closing_ends_in_time_while_the_network_swallows_everything(server: AnyServer) -> None:
    async with behind_a_proxy(server) as (db, proxy):
        await open_connections(db, 2)
        await proxy.black_hole()
        await check_fails(db)
        await becomes(lambda: db.pools[0].trouble is not None)
        began = time.monotonic()
        await db.close()
        assert time.monotonic() - began < CLOSING


async def test_a_busy_server_is_not_taken_for_a_dead_one(server: AnyServer) -> None:
    async with Database(server.dsn(), pool=PoolLimits(max_open=2)) as db:
        busy = [asyncio.create_task(db.run(sleep_in_database, db, 3)) for _ in range(3)]
        await becomes(lambda: db.pools[0].in_use == 2 and db.pools[0].waiting > 0)
        with pytest.raises(Degraded, match="every connection is busy"):
            await db.check()
        await asyncio.gather(*busy)
        await db.check()


async def test_reconnects_are_at_most_two_at_a_time(server: AnyServer) -> None:
    """A proxy that takes long counts how many are connecting at once."""
    async with Proxy(server.host, server.port) as proxy:
        most = 0
        accept = proxy._accept

        def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal most
            accept(reader, writer)
            connected = db.pools[0].open_connections - db.pools[0].starting if db.pools else 0
            most = max(most, proxy.open_connections - connected)

        proxy._accept = counting  # type: ignore[method-assign]  # the test stands in its way
        await proxy.delay(0.02)
        await proxy.refuse()
        await proxy.forward()
        await proxy.delay(0.02)
        dsn = server.dsn().replace(f":{server.port}/", f":{proxy.port}/")
        async with Database(dsn, pool=PoolLimits(max_open=8)) as db:
            await asyncio.gather(*(db.run(sleep_in_database, db, 0.5) for _ in range(24)))
            assert db.pools[0].open_connections == 8
            assert most <= 2
            most = 0
            await proxy.cut()
            await asyncio.gather(*(number(db) for _ in range(24)), return_exceptions=True)
            assert most <= 2


def make_table(db: Database) -> None:
    db.peewee.create_tables([Form])  # type: ignore[no-untyped-call]  # peewee's stubs lack its types


async def test_a_server_that_takes_no_writes_any_more_is_red_and_green_again(server: AnyServer) -> None:
    async with Database(server.dsn()) as db:
        await db.run(make_table, db)
        await open_connections(db, 3)
        generation = db.pools[0].generation
        await asyncio.to_thread(read_only, server, True)
        failed = await check_fails(db)
        assert (failed.reason, failed.certain) == ("the server takes no writes", True)
        with pytest.raises(DatabaseUnavailable) as refused:
            await db.create(Form, title="no")
        assert refused.value.trouble == "read-only"
        with pytest.raises(DatabaseUnavailable):
            async with db.transaction(retries=3):
                await db.create(Form, title="no")
        assert db.pools[0].generation > generation
        assert await db.scalar(Form.select(peewee.fn.COUNT(Form.id))) == 0  # reading goes on
        await asyncio.to_thread(read_only, server, False)
        await db.check()
        await db.create(Form, title="yes")


def read_only(server: AnyServer, on: bool) -> None:
    if isinstance(server, PostgresServer):
        server.set_read_only(on)
    else:
        server.execute(f"SET GLOBAL read_only = {int(on)}")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_a_pool_goes_on_with_what_it_has_when_the_server_is_full(kind: str) -> None:
    options = {"max_connections": "8", "superuser_reserved_connections": "3"}
    with (
        postgres_server(options=options) if kind == "postgresql" else mariadb_server(options={"max-connections": "10"})
    ) as server:
        if isinstance(server, PostgresServer):
            server.execute("CREATE USER limited")
        dsn = server.dsn().replace("postgres@", "limited@")
        async with Database(dsn, pool=PoolLimits(max_open=50)) as db:
            await asyncio.gather(*(db.run(sleep_in_database, db, 0.2) for _ in range(20)))
            assert 0 < db.pools[0].open_connections <= 11
            assert db.pools[0].trouble is None
            await db.check()


async def test_a_password_that_changes_is_used_for_new_connections(server: AnyServer) -> None:
    server.set_password("first")
    password_needed(server)
    async with Database(server.dsn()) as db:
        assert await number(db) == 7
        server.set_password("second")
        assert await number(db) == 7  # what is open stays
        await asyncio.to_thread(disconnect, server)
        with pytest.raises(DatabaseUnavailable) as refused:
            await number(db)
        assert refused.value.trouble == "password"
        db.set_credentials(parse_dsn(server.dsn()))
        await works_again(db)


def password_needed(server: AnyServer) -> None:
    if isinstance(server, PostgresServer):
        (server.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server.execute("SELECT pg_reload_conf()")


async def test_work_that_finds_no_connection_in_time_is_told_who_has_them(every_db: Database) -> None:
    me = asyncio.current_task()
    assert me is not None
    me.set_name("the holder")
    limits = PoolLimits(max_open=2, acquire_timeout=1.0)
    async with Database(every_db._target, pool=limits) as db:
        await db.run(make_table, db)
        async with db.transaction():
            await db.scalar(Form.select(peewee.fn.COUNT(Form.id)))
            line = _line() - 2
            release = threading.Event()

            def nap() -> None:
                release.wait(10)

            def elsewhere() -> asyncio.Task[object]:
                return asyncio.create_task(outside(db, nap))

            napping = elsewhere() if db.kind != "sqlite" else None
            await becomes(lambda: db.kind == "sqlite" or db.pools[0].in_use == 2)
            with pytest.raises(PoolExhausted) as exhausted:
                await asyncio.create_task(outside(db, int))
            release.set()
            if napping is not None:
                await napping
        error = exhausted.value
        seconds = {holder.name: f"{holder.seconds:.1f}" for holder in error.holders}
        transaction = f"a transaction opened at {__file__}:{line} in the holder"
        assert seconds.keys() >= {transaction}
        nap_name = next((name for name in seconds if name.endswith("nap")), "")
        napped = f", {nap_name} for {seconds[nap_name]} s" if nap_name else ""
        size, they = ("1 connection is", "It is") if db.kind == "sqlite" else ("2 connections are", "They are")
        assert render(diagnose(error)) == (
            "No connection to the database was free within 1 s.\n"
            f"  cause:  {db.location}: {size} open. {they} held by {transaction} for "
            f"{seconds[transaction]} s{napped}.\n"
            "  action: Keep transactions short and await nothing else in them, or raise DATABASE_MAX_OPEN_CONNS."
        )
        assert bool(napped) == (db.kind != "sqlite")


def _line() -> int:
    """Of the caller."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


async def outside(db: Database, function: Callable[[], object]) -> object:
    db.enter_transaction(None)
    return await db.run(function)


async def test_a_query_that_takes_too_long_is_cut_and_the_pool_is_fine(server: AnyServer) -> None:
    async with Database(server.dsn(), pool=PoolLimits(query_timeout=0.5, max_open=2)) as db:
        began = time.monotonic()
        with pytest.raises(QueryTimeout) as cut:
            await db.run(sleep_in_database, db, 60)
        assert 0.4 < time.monotonic() - began < 3
        assert render(diagnose(cut.value)) == (
            "sleep_in_database got no answer from the database within 0.5 s.\n"
            f"  cause:  {db.location}: the connection was cut; whether the statement took effect is not known.\n"
            "  action: Make the query faster, or raise DATABASE_QUERY_TIMEOUT and DATABASE_STATEMENT_TIMEOUT."
        )
        with pytest.raises(QueryTimeout):
            async with db.transaction():
                await db.run(sleep_in_database, db, 60)
        with pytest.raises(QueryTimeout):
            async with db.transaction():
                assert await number(db) == 7
                await db.run(sleep_in_database, db, 60)
        await becomes(lambda: db.pools[0].in_use == 0)
        for _ in range(4):
            assert await number(db) == 7
        async with db.transaction():
            assert await number(db) == 7
        await db.check()


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(server: AnyServer) -> None:
    async with Database(server.dsn(), server=ServerLimits(statement=0.3), pool=PoolLimits(max_open=1)) as db:
        with pytest.raises(QueryTimeout) as ended:
            await db.run(sleep_in_database, db, 60)
        assert render(diagnose(ended.value)) == (
            "sleep_in_database got no answer from the database within 0.3 s.\n"
            f"  cause:  {db.location}: the server ended the statement, which had no effect.\n"
            "  action: Make the query faster, or raise DATABASE_STATEMENT_TIMEOUT."
        )
        assert await number(db) == 7
        assert db.pools[0].open_connections == 1
