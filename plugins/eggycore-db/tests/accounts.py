"""Accounts that transactions move, on a database of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import peewee
import pytest

from eggycore_db import (
    Database,
    Model,
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
