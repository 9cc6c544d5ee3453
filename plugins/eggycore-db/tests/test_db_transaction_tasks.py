"""Transactions and tasks: one belongs to the task that opened it, whatever cancels that or closes the database."""

from __future__ import annotations

import asyncio
import threading
from importlib import import_module

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_db import (
    Database,
    TransactionOfAnotherTask,
)

accounts = import_module("plugins.eggycore-db.tests.accounts")
Account = accounts.Account
db = accounts.db
server_db = accounts.server_db
balances = accounts.balances
add = accounts.add
until_nothing_is_in_use = accounts.until_nothing_is_in_use


async def opens_one(db: Database) -> None:
    async with db.transaction():
        await db.execute(add(1))


async def two_steps(db: Database) -> None:
    async with db.transaction():
        await db.execute(add(1))
        async with db.transaction():
            await db.execute(add(2))


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
