"""Books and whatever else batches write, on a database of each kind."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import peewee
import pytest

from eggycore_db import Database, Model
from eggycore_db.pool import PoolLimits

NOON = datetime.datetime(2026, 11, 21, 12, 0, 0)


class Author(Model):
    name = peewee.CharField()


class Book(Model):
    title = peewee.CharField(max_length=40)
    number = peewee.IntegerField(unique=True)
    pages = peewee.IntegerField(null=True)
    state = peewee.CharField(default="new")
    author = peewee.ForeignKeyField(Author, null=True)


class Everything(Model):
    text = peewee.TextField(null=True)
    amount = peewee.DecimalField(max_digits=10, decimal_places=2, null=True)
    ratio = peewee.DoubleField(null=True)
    flag = peewee.BooleanField(null=True)
    at = peewee.DateTimeField(null=True)
    day = peewee.DateField(null=True)
    data = peewee.BlobField(null=True)
    ident = peewee.UUIDField(null=True)
    document = peewee.JSONField(null=True)
    big = peewee.BigIntegerField(column_name="large", null=True)


class Place(Model):
    row = peewee.IntegerField()
    seat = peewee.CharField()
    guest = peewee.CharField(null=True)

    class Meta:
        primary_key = peewee.CompositeKey("row", "seat")


class Node(Model):
    name = peewee.CharField()
    parent = peewee.ForeignKeyField("self", null=True)


TABLES = [Author, Book, Everything, Place, Node]
KINDS = ("sqlite", "postgresql", "mysql")


@pytest.fixture
def dsn_of(request: pytest.FixtureRequest, path: Path) -> Callable[[str], str]:
    """The DSN of a fresh database of a kind."""

    def dsn(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{path}"
        fresh: str = request.getfixturevalue("postgres_dsn" if kind == "postgresql" else "mariadb_dsn")
        return fresh

    return dsn


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Database]:
    """A database with empty tables."""
    async with Database(dsn, pool=PoolLimits(max_open=4)) as db:
        await db.run(db.peewee.create_tables, TABLES)
        yield db


@pytest.fixture(params=KINDS)
async def books(request: pytest.FixtureRequest, dsn_of: Callable[[str], str]) -> AsyncIterator[Database]:
    """A database of each kind with empty tables."""
    async with opened(dsn_of(request.param)) as db:
        yield db


@pytest.fixture
async def postgres(postgres_dsn: str) -> AsyncIterator[Database]:
    async with opened(postgres_dsn) as db:
        yield db


@pytest.fixture
async def sqlite(path: Path) -> AsyncIterator[Database]:
    async with opened(f"sqlite:///{path}") as db:
        yield db


@pytest.fixture
async def mariadb(mariadb_dsn: str) -> AsyncIterator[Database]:
    async with opened(mariadb_dsn) as db:
        yield db


def book(number: int, **more: object) -> dict[str, object]:
    return {"title": f"t{number}", "number": number, **more}


async def numbers(db: Database) -> list[int]:
    return [row[0] for row in await db.list(Book.select(Book.number).order_by(Book.number).tuples())]


# --- what is written
