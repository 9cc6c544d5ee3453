"""Transactions of asyncio code on every kind of database: their ends, savepoints and isolation."""

from __future__ import annotations

import asyncio
from importlib import import_module

import peewee
import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_db import (
    Database,
    TransactionAborted,
)

accounts = import_module("plugins.eggycore-db.tests.accounts")
Account = accounts.Account
db = accounts.db
balances = accounts.balances
add = accounts.add
until_nothing_is_in_use = accounts.until_nothing_is_in_use


async def other_adds(db: Database, key: int = 2, before: str = "") -> None:
    """In a task that belongs to no transaction."""
    db.enter_transaction(None)
    await db.run(db.peewee.execute_sql, f"{before}UPDATE account SET balance = balance + 1 WHERE id = {key}")


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
