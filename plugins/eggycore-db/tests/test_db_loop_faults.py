"""What goes wrong while the event loop uses a connection: servers that die, fall silent or take no writes any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any

import peewee
import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_db import Database, DatabaseUnavailable, Model, PoolExhausted, PoolLimits, QueryTimeout
from eggycore_db.bulk_statements import Inserting
from eggycore_db.errors import DatabaseClosed
from eggycore_db.server import ServerLimits
from eggycore_db.sql import row_of
from tests.servers import PostgresServer, Proxy, postgres_server

PATIENCE = 20.0


class Account(Model):
    name = peewee.TextField(unique=True)


@pytest.fixture(scope="module")
def shared() -> Iterator[PostgresServer]:
    """A server that no test stops."""
    with postgres_server() as one:
        yield one


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, to be broken."""
    with postgres_server() as one:
        yield one


async def with_table(db: Database) -> Database:
    await db.run(db.peewee.drop_tables, [Account])
    await db.run(db.peewee.create_tables, [Account])
    return db


async def becomes(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def works_again(db: Database) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await insert(db)
                return
            except DatabaseUnavailable:
                await asyncio.sleep(0.02)


async def insert(db: Database) -> None:
    async with db.transaction():
        made = await db.create(Account, name="again")
        assert (await db.get(Account, made.id)).name == "again"
        await db.run(made.delete_instance)


class Locked:
    """The table locked by another connection, so that inserts wait."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._free = threading.Event()
        self._locked = threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        import psycopg2

        connection = psycopg2.connect(self._server.dsn())
        connection.cursor().execute("LOCK TABLE account IN SHARE MODE")
        self._locked.set()
        self._free.wait(PATIENCE)
        connection.close()

    async def __aenter__(self) -> None:
        self._thread.start()
        await asyncio.to_thread(self._locked.wait, PATIENCE)

    async def __aexit__(self, *_: object) -> None:
        self._free.set()
        await asyncio.to_thread(self._thread.join)


def one_waits(server: PostgresServer) -> Callable[[], bool]:
    return lambda: server.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(1,)]


async def test_a_statement_that_takes_too_long_is_cut(shared: PostgresServer) -> None:
    async with Database(shared.dsn(), pool=PoolLimits(max_open=1, query_timeout=0.3)) as db:
        await with_table(db)
        async with Locked(shared):
            with pytest.raises(QueryTimeout) as late:
                await db.create(Account, name="b")
            said = render(diagnose(late.value)).splitlines()[0]
            assert said == "Writes._insert got no answer from the database within 0.3 s."
            with pytest.raises(QueryTimeout):
                async with db.transaction():
                    await db.create(Account, name="c")
        await insert(db)
        assert "c" not in await db.run(lambda: [row.name for row in Account.select()])


async def test_a_statement_that_the_server_ends(shared: PostgresServer) -> None:
    async with Database(shared.dsn(), server=ServerLimits(statement=0.2)) as db:
        await with_table(db)
        async with Locked(shared):
            with pytest.raises(QueryTimeout) as late:
                async with db.transaction():
                    await db.create(Account, name="b")
            assert late.value.by_server
        await insert(db)


async def test_who_waits_in_vain_is_told_who_holds_the_connection(shared: PostgresServer) -> None:
    async with Database(shared.dsn(), pool=PoolLimits(max_open=1, acquire_timeout=0.2)) as db:
        await with_table(db)
        async with db.transaction():
            await db.create(Account, name="b")
            with pytest.raises(PoolExhausted) as refused:
                await asyncio.get_running_loop().create_task(db.create(Account, name="c"), context=Context())
            (holder,) = refused.value.holders
            assert holder.name.startswith(f"a transaction opened at {__file__}:")
        await insert(db)


async def test_sessions_that_the_server_ended_while_nobody_used_them_are_replaced_unseen(
    server: PostgresServer,
) -> None:
    async with Database(server.dsn(), pool=PoolLimits(max_open=2)) as db:
        await with_table(db)
        for _ in range(3):
            await insert(db)
            await asyncio.to_thread(server.disconnect_clients)
            await becomes(lambda: server.execute(CLIENTS) == [(1,)])
            assert (await db.create(Account, name="x")).id
            await db.run(lambda: Account.delete().execute())


CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


async def test_a_session_that_the_server_ended_in_the_middle_of_a_transaction(server: PostgresServer) -> None:
    async with Database(server.dsn()) as db:
        await with_table(db)
        with pytest.raises(DatabaseUnavailable) as lost:
            async with db.transaction():
                await db.create(Account, name="b")
                await asyncio.to_thread(server.disconnect_clients)
                await becomes(lambda: server.execute(CLIENTS) == [(1,)])
                await db.create(Account, name="c")
        assert lost.value.trouble == "lost"
        with pytest.raises(DatabaseUnavailable):
            async with db.transaction():
                await db.create(Account, name="b")
                await asyncio.to_thread(server.disconnect_clients)
        await insert(db)
        assert await db.run(lambda: Account.select().count()) == 0


async def test_a_server_that_is_killed_while_statements_are_on_their_way(server: PostgresServer) -> None:
    async with Database(server.dsn(), pool=PoolLimits(max_open=2)) as db:
        await with_table(db)
        async with Locked(server):
            tasks = [asyncio.create_task(db.create(Account, name=f"{number}")) for number in range(5)]
            await becomes(lambda: db.pools[0].in_use == 2 and db.pools[0].waiting == 3)
            await asyncio.to_thread(server.kill)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, DatabaseUnavailable) for outcome in outcomes), outcomes
        await asyncio.to_thread(server.start)
        await works_again(db)
        assert db.pools[0].open_connections <= 2


async def test_a_network_that_swallows_everything(shared: PostgresServer) -> None:
    async with Proxy(shared.host, shared.port) as proxy:
        dsn = shared.dsn().replace(f":{shared.port}/", f":{proxy.port}/")
        limits = PoolLimits(max_open=1, query_timeout=0.5)
        async with Database(dsn, pool=limits, server=ServerLimits(connect=2.0)) as db:
            await with_table(db)
            await insert(db)
            await proxy.black_hole()
            with pytest.raises(QueryTimeout):
                await db.create(Account, name="b")
            await proxy.cut()
            await proxy.forward()
            await works_again(db)


async def test_a_server_that_takes_no_writes_any_more_is_left(server: PostgresServer) -> None:
    async with Database(server.dsn()) as db:
        await with_table(db)
        pool = db.pools[0]
        await asyncio.gather(*(insert_named(db, f"{number}") for number in range(40)))
        before = pool.generation
        await asyncio.to_thread(server.set_read_only, True)
        with pytest.raises(DatabaseUnavailable) as refused:
            await db.create(Account, name="b")
        assert refused.value.trouble == "read-only"
        assert pool.generation == before + 1
        await asyncio.to_thread(server.set_read_only, False)
        await works_again(db)


async def insert_named(db: Database, name: str) -> None:
    await db.create(Account, name=name)


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_closing_waits_for_what_is_on_its_way_and_cuts_what_nobody_waits_for(
    shared: PostgresServer, in_transaction: bool
) -> None:
    async def work(db: Database, name: str) -> None:
        if in_transaction:
            async with db.transaction():
                await db.create(Account, name=name)
        else:
            await db.create(Account, name=name)

    db = Database(shared.dsn())
    async with db:
        await with_table(db)
        async with Locked(shared):
            leaving = asyncio.create_task(work(db, "left"))
            await becomes(one_waits(shared))
            leaving.cancel()
            async with asyncio.timeout(PATIENCE):
                await db.close()
            await asyncio.gather(leaving, return_exceptions=True)
    async with db:
        locked = Locked(shared)
        async with locked:
            waiting = asyncio.create_task(work(db, "b"))
            await becomes(one_waits(shared))
            closing = asyncio.create_task(db.close())
            await asyncio.sleep(0)
            assert not closing.done()
        async with asyncio.timeout(PATIENCE):
            await closing
        (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
        if not in_transaction:
            assert outcome is None
    found = {name for (name,) in shared.execute("SELECT name FROM account")}
    assert isinstance(outcome, DatabaseClosed | None)  # whether COMMIT comes before the end is not known
    assert found - {"left"} == ({"b"} if outcome is None else set())  # nor whether that one took effect


async def test_closing_in_the_middle_of_a_transaction(shared: PostgresServer) -> None:
    db = Database(shared.dsn())
    async with db:
        await with_table(db)
        with pytest.raises(DatabaseClosed):
            async with db.transaction():
                await db.create(Account, name="b")
                async with asyncio.timeout(PATIENCE):
                    await db.close()
                await db.create(Account, name="c")
    assert shared.execute("SELECT count(*) FROM account") == [(0,)]


async def test_a_connection_that_was_made_to_copy_is_given_back_to_the_loop(
    shared: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore_db.housekeeping.KEEP_BLOCKING", 0.0)
    copies: list[bool] = []
    copy = Inserting._copy

    def counted(statement: Inserting, rows: Any) -> bool:
        copies.append(copy(statement, rows))
        return copies[-1]

    monkeypatch.setattr(Inserting, "_copy", counted)
    async with Database(shared.dsn(), pool=PoolLimits(max_open=1, min_open=1, idle_check=0.01)) as db:
        await with_table(db)
        session = await backend(db)
        result = await db.bulk_insert(Account, ({"name": f"{number}"} for number in range(3)))
        assert (result.written, copies) == (3, [False])
        assert await backend(db) == session
        copies.clear()
        result = await db.bulk_insert(Account, ({"name": f"more {number}"} for number in range(3000)))
        assert (result.written, copies) == (3000, [True, True, True])
        await becomes(lambda: any(not worker.blocks for worker in db.pools[0].workers))
        await insert(db)
        async with db.transaction():
            result = await db.bulk_insert(Account, ({"name": f"most {number}"} for number in range(2000)))
        assert copies[3:] == [True, True]
        await insert(db)
        await db.close()
    assert shared.execute("SELECT count(*) FROM account") == [(5003,)]


async def backend(db: Database) -> int:
    found: int = (await db.run(row_of, db.peewee, "SELECT pg_backend_pid()"))[0]
    return found


async def test_the_end_of_an_idle_session_does_not_keep_the_loop_busy(server: PostgresServer) -> None:
    async with Database(server.dsn(), pool=PoolLimits(max_open=1)) as db:
        await with_table(db)
        await db.create(Account, name="b")
        (worker,) = db.pools[0].workers
        line: Any = worker._line
        assert line._loop is not None
        await asyncio.to_thread(server.disconnect_clients)
        await becomes(lambda: line._loop is None)


@pytest.mark.parametrize("in_loop", [False, True])
async def test_a_connection_that_is_lost_in_the_middle_of_its_work_has_the_check_run(
    shared: PostgresServer, in_loop: bool
) -> None:
    asked: list[bool] = []
    db = Database(shared.dsn())
    db.changed = lambda: asked.append(True)
    async with db:
        await with_table(db)
        await becomes(lambda: db.pools[0].in_use == 0)
        asked.clear()
        with pytest.raises(DatabaseUnavailable):
            if in_loop:
                async with Locked(shared):
                    waiting = asyncio.create_task(insert_named(db, "a"))
                    await becomes(one_waits(shared))
                    shared.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    )
                    await waiting
            else:
                await db.run(db.peewee.execute_sql, "SELECT pg_terminate_backend(pg_backend_pid())")
        await becomes(lambda: bool(asked))
