"""Transactions of asyncio code on every kind of database: their ends, savepoints, retries, tasks and cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import datetime

import peewee
import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_db import (
    Database,
    Model,
    TransactionAborted,
    TransactionConflict,
    TransactionOfAnotherTask,
)


class Account(Model):
    name = peewee.CharField(unique=True)
    balance = peewee.IntegerField(default=0)
    made = peewee.DateTimeField(default=datetime.now)


@pytest.fixture
async def db(every_db: Database) -> AsyncIterator[Database]:
    """A database of each kind with the accounts a (1) and b (2)."""
    await every_db.run(every_db.peewee.create_tables, [Account])
    for name in "ab":
        await every_db.create(Account, name=name)
    yield every_db


@pytest.fixture(params=["postgres_dsn", "mariadb_dsn"])
async def server_db(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """The same, on a server: several transactions at once."""
    async with Database(request.getfixturevalue(request.param)) as database:
        await database.run(database.peewee.create_tables, [Account])
        for name in "ab":
            await database.create(Account, name=name)
        yield database


async def balances(db: Database) -> dict[str, int]:
    return {row.name: row.balance for row in await db.list(Account.select().order_by(Account.name))}


def add(key: int, amount: int = 1) -> peewee.Update:
    return Account.update(balance=Account.balance + amount).where(Account.id == key)


async def until_nothing_is_in_use(db: Database) -> None:
    async with asyncio.timeout(10):
        while any(pool.in_use for pool in db.pools):
            await asyncio.sleep(0.001)


async def test_what_a_block_did_is_there_after_it_and_visible_inside_before(db: Database) -> None:
    async with db.transaction():
        made = await db.create(Account, name="c", balance=5)
        assert (await db.get(Account, made.id)).balance == 5
        assert await db.run(lambda: Account.select().count()) == 3
        assert await db.scalar(Account.select(peewee.fn.SUM(Account.balance))) == 5
        assert [row.name async for row in db.iterate(Account.select().order_by(Account.id))] == ["a", "b", "c"]
    assert await balances(db) == {"a": 0, "b": 0, "c": 5}
    await until_nothing_is_in_use(db)


async def test_a_block_that_raises_leaves_nothing(db: Database) -> None:
    with pytest.raises(LookupError, match="no"):
        async with db.transaction():
            await db.execute(add(1))
            await db.run(lambda: Account.create(name="c"))
            raise LookupError("no")
    assert await balances(db) == {"a": 0, "b": 0}
    await until_nothing_is_in_use(db)


async def test_a_block_in_which_nothing_is_done_takes_no_connection(db: Database) -> None:
    async with db.transaction():
        assert not any(pool.in_use for pool in db.pools)
    await until_nothing_is_in_use(db)


async def test_a_transaction_inside_another_is_a_savepoint(db: Database) -> None:
    async with db.transaction():
        await db.execute(add(1))
        with pytest.raises(LookupError):
            async with db.transaction():
                await db.execute(add(1))
                async with db.transaction():
                    await db.execute(add(2))
                raise LookupError
        async with db.transaction():
            await db.execute(add(2, 7))
    assert await balances(db) == {"a": 1, "b": 7}


async def test_an_error_of_a_statement_inside_a_savepoint_can_be_caught_and_the_rest_commits(db: Database) -> None:
    async with db.transaction():
        await db.execute(add(1))
        with pytest.raises(peewee.IntegrityError):
            async with db.transaction():
                await db.execute(add(2))
                await db.create(Account, name="a")
        await db.create(Account, name="c")
    assert await balances(db) == {"a": 1, "b": 0, "c": 0}


async def test_the_same_without_a_savepoint_commits_or_says_that_it_did_not(db: Database) -> None:
    caught: list[str] = []

    async def careless() -> None:
        async with db.transaction():
            await db.execute(add(1))
            try:
                await db.create(Account, name="a")
            except peewee.IntegrityError:
                caught.append("it")

    if db.kind != "postgresql":
        await careless()
        assert await balances(db) == {"a": 1, "b": 0}
        return
    with pytest.raises(TransactionAborted) as told:
        await careless()
    assert caught == ["it"]
    assert render(diagnose(told.value)) == (
        f"The transaction opened at {told.value.opened_at} was rolled back.\n"
        "  cause:  A statement in it failed, its error was caught inside the block, and the server commits no such "
        "one.\n"
        "  action: Let the error leave the block, or put what may fail into a block of its own inside it, a savepoint."
    )
    assert await balances(db) == {"a": 0, "b": 0}


async def test_a_value_that_the_driver_cannot_send_does_not_end_the_transaction_unseen(db: Database) -> None:
    with pytest.raises(LookupError):
        async with db.transaction():
            with pytest.raises(Exception, match=r"adapt|binding|can not be used"):
                await db.run(db.peewee.execute_sql, f"SELECT {db.peewee.param}", ({},))
            await db.execute(add(1))
            raise LookupError
    assert await balances(db) == {"a": 0, "b": 0}


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
async def test_isolation_is_what_was_asked_for(db: Database, isolation: str) -> None:
    async with db.transaction(isolation=isolation):  # type: ignore[arg-type]  # the parameters are what it takes
        if db.kind == "postgresql":
            level = await db.run(db.peewee.execute_sql, "SHOW transaction_isolation")
            assert (level.fetchone()[0]) == isolation
        assert await balances(db) == {"a": 0, "b": 0}
        if db.kind == "sqlite" or (db.kind, isolation) == ("mysql", "serializable"):
            return  # who writes would wait for who has read
        await asyncio.create_task(other_adds(db))
        assert await balances(db) == {"a": 0, "b": int(isolation == "read committed")}
    assert await balances(db) == {"a": 0, "b": 1}


async def test_serializable_reads_lock_on_mariadb(mariadb_dsn: str) -> None:
    async with Database(mariadb_dsn) as db:
        await db.run(db.peewee.create_tables, [Account])
        await db.create(Account, name="a")
        async with db.transaction(isolation="serializable"):
            await balances(db)
            with pytest.raises(peewee.OperationalError, match="Lock wait timeout"):
                await asyncio.create_task(other_adds(db, 1, "SET STATEMENT innodb_lock_wait_timeout=0 FOR "))


async def other_adds(db: Database, key: int = 2, before: str = "") -> None:
    """In a task that belongs to no transaction."""
    db.enter_transaction(None)
    await db.run(db.peewee.execute_sql, f"{before}UPDATE account SET balance = balance + 1 WHERE id = {key}")


async def crosswise(db: Database, retries: int, meeting: asyncio.Barrier, first: int, second: int) -> None:
    async with db.transaction(retries=retries):
        await db.execute(add(first))
        if first == 1:
            await db.create(Account, name="made on the way")
        try:
            async with asyncio.timeout(10):
                await meeting.wait()
        except asyncio.BrokenBarrierError:
            pass  # a replay does not come by here, only the code of the block does once
        await db.execute(add(second))


async def test_two_that_lock_rows_crosswise_both_succeed_with_retries(server_db: Database) -> None:
    db = server_db
    for _ in range(5):
        meeting = asyncio.Barrier(2)
        async with asyncio.timeout(30):
            await asyncio.gather(crosswise(db, 3, meeting, 1, 2), crosswise(db, 3, meeting, 2, 1))
        await db.execute(Account.delete().where(Account.name == "made on the way"))
    assert await balances(db) == {"a": 10, "b": 10}
    await until_nothing_is_in_use(db)


async def test_a_deadlock_without_retries_is_told(server_db: Database) -> None:
    db, meeting = server_db, asyncio.Barrier(2)
    outcomes = await asyncio.gather(
        crosswise(db, 0, meeting, 1, 2), crosswise(db, 0, meeting, 2, 1), return_exceptions=True
    )
    (lost,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(lost, TransactionConflict)
    assert "deadlock" in lost.reason.lower()
    assert render(diagnose(lost)) == (
        "A transaction lost against another one.\n"
        f"  cause:  The server ended it: {lost.reason}.\n"
        "  action: Try it again, or have that done: `async with db.transaction(retries=3)`."
    )
    assert {key: value for key, value in (await balances(db)).items() if key in "ab"} == {"a": 1, "b": 1}


async def test_after_a_conflict_that_was_caught_nothing_more_is_done_and_nothing_stays(server_db: Database) -> None:
    db, meeting = server_db, asyncio.Barrier(2)
    caught: list[TransactionConflict] = []

    async def goes_on(first: int, second: int) -> None:
        async with db.transaction():
            await db.execute(add(first, 100))
            await meeting.wait()
            try:
                async with db.transaction():
                    await db.execute(add(second, 100))
            except TransactionConflict as conflict:
                caught.append(conflict)
                with pytest.raises(TransactionConflict):
                    await db.execute(add(second, 1))

    outcomes = await asyncio.gather(goes_on(1, 2), goes_on(2, 1), return_exceptions=True)
    assert len(caught) == 1
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [TransactionConflict]
    assert await balances(db) == {"a": 100, "b": 100}


async def test_a_replay_inserts_with_the_key_and_the_defaults_of_the_first_time(server_db: Database) -> None:
    db, meeting = server_db, asyncio.Barrier(2)
    made: list[Account] = []

    async def creates(first: int, second: int) -> None:
        async with db.transaction(retries=3):
            row = await db.create(Account, name=f"of {first}")
            made.append(row)
            await db.execute(add(first))
            await meeting.wait()
            await db.execute(add(second))
            row.balance = 42  # what the caller does with its row is no difference
            await db.run(row.save)

    async with asyncio.timeout(30):
        await asyncio.gather(creates(1, 2), creates(2, 1))
    for row in made:
        found = await db.get(Account, row.id)
        assert (found.name, found.balance) == (row.name, 42)
        assert abs((found.made - row.made).total_seconds()) <= 1  # MariaDB keeps seconds
    assert (await balances(db))["a"] == 2


async def test_a_replay_that_reads_something_else_is_a_conflict(server_db: Database) -> None:
    db, meeting = server_db, asyncio.Barrier(2)

    async def reads_then_writes(first: int, second: int) -> int:
        async with db.transaction(retries=3):
            seen = (await db.get(Account.select().where(Account.id == second))).balance
            await db.execute(add(first))
            await meeting.wait()
            await db.execute(add(second))
            return seen

    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(reads_then_writes(1, 2), reads_then_writes(2, 1), return_exceptions=True)
    (lost,) = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert isinstance(lost, TransactionConflict), lost
    assert render(diagnose(lost)) == (
        "A transaction lost against another one, and could not be replayed.\n"
        f"  cause:  The server ended it after 2 attempts: {lost.reason}. When it was replayed, _get gave another "
        "result than before.\n"
        "  action: Do the work in one function, `await db.run(function)` in the transaction, or try all of it again."
    )
    assert await balances(db) == {"a": 1, "b": 1}


async def test_a_serialization_failure_is_replayed(postgres_dsn: str) -> None:
    async with Database(postgres_dsn) as db:
        await db.run(db.peewee.create_tables, [Account])
        await db.create(Account, name="a")

        def one_more() -> None:
            account = Account.get_by_id(1)
            account.balance += 1
            account.save()

        async def increment() -> None:
            async with db.transaction(retries=50, isolation="serializable"):
                await db.run(one_more)

        async with asyncio.timeout(30):
            await asyncio.gather(*(increment() for _ in range(8)))
        assert await balances(db) == {"a": 8}


async def test_a_serialization_failure_at_commit_is_replayed(postgres_dsn: str) -> None:
    """Two that read what the other one writes: PostgreSQL finds out when the second one commits."""
    async with Database(postgres_dsn) as db:
        await db.run(db.peewee.create_tables, [Account])
        for name in "ab":
            await db.create(Account, name=name, balance=1)
        meeting = asyncio.Barrier(2)

        def take_if_there_is_enough(key: int) -> bool:
            enough = sum(row.balance for row in Account.select()) >= 2
            if enough:
                add(key, -2).execute()
            return enough

        async def skewed(key: int) -> bool:
            async with db.transaction(retries=3, isolation="serializable"):
                taken: bool = await db.run(take_if_there_is_enough, key)
                await meeting.wait()
            return taken

        outcomes = await asyncio.gather(skewed(1), skewed(2), return_exceptions=True)
        assert outcomes.count(True) == 1
        (lost,) = [outcome for outcome in outcomes if outcome is not True]
        assert isinstance(lost, TransactionConflict)
        assert lost.differing.endswith("take_if_there_is_enough")
        assert sum((await balances(db)).values()) == 0
        await until_nothing_is_in_use(db)


@pytest.mark.parametrize("how", ["gather", "task group", "create_task"])
async def test_a_child_task_that_uses_the_transaction_of_its_parent_is_caught(db: Database, how: str) -> None:
    async def child() -> None:
        await db.execute(add(1))

    with pytest.raises((TransactionOfAnotherTask, ExceptionGroup)) as told:
        async with db.transaction():
            await db.execute(add(1))
            if how == "gather":
                await asyncio.gather(child())
            elif how == "create_task":
                await asyncio.create_task(child(), name="the child")
            else:
                async with asyncio.TaskGroup() as group:
                    group.create_task(child(), name="the child")
    error = told.value.exceptions[0] if isinstance(told.value, ExceptionGroup) else told.value
    assert isinstance(error, TransactionOfAnotherTask)
    assert await balances(db) == {"a": 0, "b": 0}


async def test_a_child_task_is_told_where_the_transaction_was_opened(db: Database) -> None:
    me = asyncio.current_task()
    assert me is not None
    me.set_name("the parent")
    async with db.transaction():
        with pytest.raises(TransactionOfAnotherTask) as told:
            await asyncio.create_task(db.create(Account, name="c"), name="the child")
    assert told.value.opened_at.partition(":")[0] == __file__
    assert render(diagnose(told.value)) == (
        "The task the child used the database inside a transaction of the task the parent.\n"
        f"  cause:  The transaction was opened at {told.value.opened_at}; its connection serves one task at a time, "
        "and on another one this query would not be part of it.\n"
        "  action: Await the query in the task that opened the transaction, or start the other task before it."
    )
    with pytest.raises(TransactionOfAnotherTask):
        async with db.transaction():
            await asyncio.create_task(opens_one(db))


async def opens_one(db: Database) -> None:
    async with db.transaction():
        await db.execute(add(1))


async def test_a_task_that_was_started_before_is_not_part_of_it(server_db: Database) -> None:
    db, go_on = server_db, asyncio.Event()

    async def older() -> None:
        await go_on.wait()
        await db.execute(add(2))

    task = asyncio.create_task(older())
    with pytest.raises(LookupError):
        async with db.transaction():
            await db.execute(add(1))
            go_on.set()
            await task
            raise LookupError
    assert await balances(db) == {"a": 0, "b": 1}


async def test_a_child_that_outlives_the_transaction_goes_on_by_itself(db: Database) -> None:
    ended = asyncio.Event()

    async def child() -> None:
        await ended.wait()
        await db.execute(add(2))
        async with db.transaction():
            await db.execute(add(2))

    async with db.transaction():
        await db.execute(add(1))
        task = asyncio.create_task(child())
    ended.set()
    await task
    assert await balances(db) == {"a": 1, "b": 2}


async def test_one_cancelled_while_it_waits_for_a_connection_leaves_nothing(dsn: str) -> None:
    from eggycore_db import PoolLimits

    async with Database(dsn, pool=PoolLimits(max_open=1)) as db:
        await db.run(db.peewee.create_tables, [Account])
        async with db.session() as session:
            await session.run(int)
            waiting = asyncio.create_task(opens_one(db))
            while not any(pool.waiting for pool in db.pools):
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await until_nothing_is_in_use(db)
        await opens_one(db)


@pytest.mark.parametrize("statement", [1, 2])
async def test_one_cancelled_during_a_statement_is_rolled_back(db: Database, statement: int) -> None:
    inside, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow() -> None:
        add(1).execute()
        loop.call_soon_threadsafe(inside.set)
        go_on.wait(10)

    async def work() -> None:
        async with db.transaction():
            if statement == 2:
                await db.execute(add(1))
            await db.run(slow)

    working = asyncio.create_task(work())
    await inside.wait()
    working.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await working
    await until_nothing_is_in_use(db)
    assert await balances(db) == {"a": 0, "b": 0}


async def test_one_cancelled_between_statements_is_rolled_back(db: Database) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with db.transaction():
            await db.execute(add(1))
            inside.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await inside.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await balances(db) == {"a": 0, "b": 0}
    await until_nothing_is_in_use(db)


async def test_one_cancelled_anywhere_is_done_whole_or_not_at_all(db: Database) -> None:
    """Cancel after each number of turns of the loop: before it begins, in a statement, in the commit, after it."""
    for turns in range(60):
        working = asyncio.create_task(two_steps(db))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        working.cancel()
        await asyncio.wait({working})
    await until_nothing_is_in_use(db)
    found = await balances(db)
    assert found["a"] == found["b"]


async def two_steps(db: Database) -> None:
    async with db.transaction():
        await db.execute(add(1))
        async with db.transaction():
            await db.execute(add(2))


async def test_closing_ends_an_open_transaction_with_an_error_and_rolls_it_back(dsn: str) -> None:
    from eggycore_db import DatabaseClosed

    async with Database(dsn) as db:
        await db.run(db.peewee.create_tables, [Account])
        await db.create(Account, name="a")
        with pytest.raises(DatabaseClosed):
            async with db.transaction():
                await db.execute(add(1))
                await asyncio.create_task(db.close())
                await db.execute(add(1))
    async with Database(dsn) as db:
        assert await balances(db) == {"a": 0}
