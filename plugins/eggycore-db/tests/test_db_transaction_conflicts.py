"""Transactions that lose against others: what is told, and what is replayed."""

from __future__ import annotations

import asyncio
from importlib import import_module

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_db import (
    Database,
    TransactionConflict,
)

accounts = import_module("plugins.eggycore-db.tests.accounts")
Account = accounts.Account
server_db = accounts.server_db
balances = accounts.balances
add = accounts.add
until_nothing_is_in_use = accounts.until_nothing_is_in_use


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
