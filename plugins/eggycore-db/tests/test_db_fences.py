"""Fences: what an old leader writes after a new one has is refused, on every kind of database."""

from __future__ import annotations

import asyncio

import peewee
import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_db import Database, Fenced, FenceOutsideTransaction, Model, fence
from eggycore_db.fences import FENCE_TABLE
from eggycore_db.transaction_errors import TransactionAborted


class Bill(Model):
    term = peewee.BigIntegerField()


async def bill(db: Database, term: int, name: str = "billing") -> None:
    async with db.transaction():
        await db.fence(name, term)
        await db.create(Bill, term=term)


async def billed(db: Database) -> list[int]:
    return [row.term for row in await db.list(Bill.select().order_by(Bill.id))]


@pytest.fixture
async def db(every_db: Database) -> Database:
    """A database of each kind with a table to write to, and no fence yet."""
    await every_db.run(every_db.peewee.create_tables, [Bill])
    return every_db


async def test_the_leader_writes_and_an_earlier_one_no_more(db: Database) -> None:
    for term in (5, 5, 9):
        await bill(db, term)
    with pytest.raises(Fenced) as refused:
        await bill(db, 5)
    assert await billed(db) == [5, 5, 9]
    await bill(db, 9)
    assert (refused.value.name, refused.value.token, refused.value.seen) == ("billing", 5, 9)


async def test_each_name_has_a_fence_of_its_own(db: Database) -> None:
    await bill(db, 9, "billing")
    await bill(db, 5, "reminders")
    assert await billed(db) == [9, 5]


async def test_tokens_have_63_bits(db: Database) -> None:
    await bill(db, 2**63 - 1)
    with pytest.raises(Fenced):
        await bill(db, 2**63 - 2)


async def test_an_old_leader_that_is_still_writing_holds_up_the_new_one_until_it_has_finished(db: Database) -> None:
    await bill(db, 1)
    passed = asyncio.Event()
    finish = asyncio.Event()

    async def old() -> None:
        async with db.transaction():
            await db.fence("billing", 5)
            passed.set()
            await finish.wait()
            await db.create(Bill, term=5)

    writing = asyncio.create_task(old())
    await passed.wait()
    new = asyncio.create_task(bill(db, 9))
    await asyncio.wait({new}, timeout=0.1)
    assert not new.done()
    finish.set()
    await asyncio.gather(writing, new)
    assert await billed(db) == [1, 5, 9]


async def test_leaders_that_begin_at_once_make_one_fence(dsn: str) -> None:
    databases = [Database(dsn) for _ in range(4)]
    for database in databases:
        await database.open()
    try:
        await databases[0].run(databases[0].peewee.create_tables, [Bill])
        await asyncio.gather(*(bill(database, 5) for database in databases))
        assert await billed(databases[0]) == [5] * 4
    finally:
        await asyncio.gather(*(database.close() for database in databases))


async def test_in_a_function_of_a_worker(db: Database) -> None:
    def write(term: int) -> None:
        with db.atomic():
            fence("billing", term)
            Bill.create(term=term)

    await db.run(write, 9)
    with pytest.raises(Fenced):
        await db.run(write, 5)
    assert await billed(db) == [9]


async def test_a_transaction_that_is_rolled_back_leaves_the_fence_as_it_was(db: Database) -> None:
    await bill(db, 5)
    with pytest.raises(ValueError, match="no"):
        async with db.transaction():
            await db.fence("billing", 9)
            raise ValueError("no")
    await bill(db, 5)
    assert await billed(db) == [5, 5]


async def test_whoever_catches_the_refusal_inside_the_transaction_commits_nothing(db: Database) -> None:
    await bill(db, 9)
    with pytest.raises(TransactionAborted):
        async with db.transaction():
            with pytest.raises(Fenced):
                await db.fence("billing", 5)
            with pytest.raises(TransactionAborted):
                await db.create(Bill, term=5)
    assert await billed(db) == [9]


async def test_outside_a_transaction_it_keeps_nobody_out_and_is_refused(db: Database) -> None:
    with pytest.raises(FenceOutsideTransaction):
        await db.fence("billing", 5)
    with pytest.raises(FenceOutsideTransaction) as refused:
        await db.run(fence, "billing", 5)
    assert render(diagnose(refused.value)) == (
        "The fence 'billing' was passed outside a transaction.\n"
        "  cause:  It holds until the end of the transaction in which it is passed; without one it keeps nobody out.\n"
        "  action: Put it and the writes into one `async with db.transaction():`, or `with db.atomic():` in a function."
    )
    assert not await db.run(db.peewee.table_exists, FENCE_TABLE)


def test_the_message_of_a_leader_that_comes_too_late() -> None:
    assert render(diagnose(Fenced("billing", 5, 9))) == (
        "What this process wanted to write as the leader of 'billing' comes too late.\n"
        "  cause:  Its term has the token 5, and a leader with the token 9 has written since.\n"
        "  action: Nothing was written: let the transaction fail. Where no such leader can have been (a cluster was"
        " restored from a backup), delete the row: DELETE FROM eggycore_fences WHERE name = 'billing'"
    )
