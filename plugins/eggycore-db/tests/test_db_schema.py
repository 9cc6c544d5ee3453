"""Tables, columns and indexes that are added for repositories, and what is reported instead."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import peewee
import pytest

from eggycore_db import Database, Model, Repository, TableNotMade
from eggycore_db.column_types import default_in_sql, same_type
from eggycore_db.migrations import locking
from eggycore_db.migrations.prepare import SchemaReport, add_tables, prepare_schema
from eggycore_db.schema import compare

migrating = import_module("plugins.eggycore-db.tests.migrating")
columns, execute, rows, tables, told = (
    getattr(migrating, name) for name in ("columns", "execute", "rows", "tables", "told")
)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each kind."""
    dsn = {
        "sqlite": lambda: f"sqlite:///{tmp_path}/test.db",
        "postgresql": lambda: request.getfixturevalue("postgres_dsn"),
        "mariadb": lambda: request.getfixturevalue("mariadb_dsn"),
    }[request.param]()
    async with Database(dsn) as database:
        yield database


class Person(Model):
    name = peewee.CharField(max_length=100, index=True)


class Form(Model):
    """Of every type that there is a default for."""

    title = peewee.CharField()
    owner = peewee.ForeignKeyField(Person, null=True, on_delete="CASCADE")
    number = peewee.IntegerField(default=7)
    big = peewee.BigIntegerField(default=1 << 40)
    price = peewee.DecimalField(max_digits=10, decimal_places=2, default=Decimal("1.50"))
    rate = peewee.DoubleField(default=0.5)
    open = peewee.BooleanField(default=True)
    text = peewee.TextField(default="it's")
    day = peewee.DateField(default=datetime.date(2026, 1, 2))
    at = peewee.DateTimeField(default=datetime.datetime(2026, 1, 2, 3, 4, 5))
    key = peewee.UUIDField(null=True, unique=True)
    data = peewee.BlobField(null=True)

    class Meta:
        indexes = ((("title", "number"), True),)


Form.add_index(Form.number, where=Form.number > 5, name="form_large")


def repository(model: type[peewee.Model]) -> Repository:
    return type(f"{model.__name__}s", (Repository,), {"model": model})()


PEOPLE, FORMS = repository(Person), repository(Form)


@pytest.fixture(autouse=True)
def no_partial_index_on_mariadb(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "mariadb" in request.node.name:
        monkeypatch.setattr(Form._meta, "indexes", Form._meta.indexes[:1])


async def prepare(db: Database, *owners: Any) -> SchemaReport:
    return await prepare_schema(db, migrations="off", folder=Path(), auto_tables=True, owners=owners)


async def test_missing_tables_are_made_and_then_nothing_differs(db: Database) -> None:
    report = await prepare(db, FORMS, PEOPLE)
    assert report == SchemaReport(tables=("form", "person"), added=("table person", "table form"))
    assert str(report) == "2 tables, added table person, table form"
    comparison = await db.run(compare, db.peewee, (FORMS, PEOPLE))
    assert (comparison.additions, comparison.differences) == ((), ())
    assert not comparison
    assert await prepare(db, FORMS, PEOPLE) == SchemaReport(tables=("form", "person"))


async def test_missing_columns_and_indexes_are_added_to_a_table_with_rows(db: Database) -> None:
    await execute(db, "CREATE TABLE person (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL)")
    await execute(
        db,
        "CREATE TABLE form (id INTEGER NOT NULL PRIMARY KEY, title VARCHAR(255) NOT NULL)",
        "INSERT INTO form VALUES (1, 'old')",
    )
    report = await prepare(db, FORMS, PEOPLE)
    assert report.differences == ()
    new = ["owner_id", "number", "big", "price", "rate", "open", "text", "day", "at", "key", "data"]
    assert set(report.added) >= {*(f"column form.{name}" for name in new), "index person (name)"}
    assert {"index form (title, number)", "index form (key)", "index form (owner_id)"} <= set(report.added)
    assert await columns(db, "form") == ["id", "title", *new]
    row = await db.get(Form.select())
    assert (row.title, row.owner_id, row.number, row.big, row.price) == ("old", None, 7, 1 << 40, Decimal("1.50"))
    assert (row.rate, row.open, row.text, row.key) == (0.5, True, "it's", None)
    assert (row.day, row.at) == (datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5))
    assert await add_tables(db, (FORMS, PEOPLE)) == ()


async def test_an_older_version_may_still_insert_rows(db: Database) -> None:
    await execute(db, "CREATE TABLE form (id INTEGER NOT NULL PRIMARY KEY, title VARCHAR(255) NOT NULL)")
    await prepare(db, FORMS, PEOPLE)
    await execute(db, "INSERT INTO form (id, title) VALUES (1, 'from the old version')")
    assert (await db.get(Form.select())).number == 7


async def test_a_foreign_key_column_that_is_added_is_enforced(db: Database) -> None:
    await execute(db, "CREATE TABLE form (id INTEGER NOT NULL PRIMARY KEY, title VARCHAR(255) NOT NULL)")
    await prepare(db, FORMS, PEOPLE)
    with pytest.raises(peewee.IntegrityError):
        await execute(db, "INSERT INTO form (id, title, owner_id) VALUES (1, 'x', 77)")


class Strict(Model):
    must = peewee.CharField()
    made = peewee.DateTimeField(default=datetime.datetime.now)
    once = peewee.IntegerField(default=0, unique=True)

    class Meta:
        table_name = "strict"


async def test_what_cannot_be_added_without_harm_is_reported(db: Database) -> None:
    await execute(db, "CREATE TABLE strict (id INTEGER NOT NULL PRIMARY KEY)", "INSERT INTO strict VALUES (1)")
    report = await prepare(db, repository(Strict))
    no_default = "is missing and cannot be added: it may not be null, and has no default that could be written in SQL"
    assert report.added == ()
    assert report.differences == (
        f"strict.must {no_default}",
        f"strict.made {no_default}",
        "strict.once is missing and cannot be added: it is unique, and every row would get the same default",
    )
    assert await columns(db, "strict") == ["id"]


async def test_an_empty_table_takes_what_has_no_default_where_the_database_allows_it(db: Database) -> None:
    await execute(db, "CREATE TABLE strict (id INTEGER NOT NULL PRIMARY KEY)")
    report = await prepare(db, repository(Strict))
    if db.kind == "sqlite":
        assert report.added == ("column strict.once", "index strict (once)")
    else:
        assert report.differences == ()
        assert await columns(db, "strict") == ["id", "must", "made", "once"]


async def test_what_differs_otherwise_is_reported_and_left_alone(db: Database) -> None:
    await execute(
        db,
        "CREATE TABLE person (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(50) NULL, extra INTEGER)",
        "CREATE INDEX person_name ON person (name)",
        "CREATE INDEX person_extra ON person (extra)",
    )
    report = await prepare(db, PEOPLE)
    found = {"postgresql": "character varying(50)"}.get(db.kind, "varchar(50)")
    assert report.added == ()
    assert sorted(report.differences) == [
        "person has an index person_extra (extra) that is not in the model",
        "person.extra is in the database and not in the model",
        f"person.name is {found} in the database and varchar(100) in the model",
        "person.name may be null in the database and not in the model",
    ]
    assert await columns(db, "person") == ["id", "name", "extra"]


async def test_without_automatic_tables_what_is_missing_is_reported(db: Database) -> None:
    report = await prepare_schema(db, migrations="off", folder=Path(), auto_tables=False, owners=(PEOPLE,))
    assert report == SchemaReport(tables=("person",), differences=("table person is missing",))
    assert await tables(db) == []


class Unique(Model):
    name = peewee.CharField(unique=True)

    class Meta:
        table_name = "unique_names"


async def test_what_the_rows_forbid_is_told_and_nothing_is_made_where_it_can_be_rolled_back(db: Database) -> None:
    await execute(
        db,
        "CREATE TABLE unique_names (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL)",
        "INSERT INTO unique_names VALUES (1, 'same')",
        "INSERT INTO unique_names VALUES (2, 'same')",
    )
    names = repository(Unique)
    with pytest.raises(TableNotMade) as failed:
        await add_tables(db, (PEOPLE, names))
    assert told(failed.value).splitlines()[0] == f"The table unique_names of {__name__}.Uniques could not be made."
    assert await tables(db) == (["person", "unique_names"] if db.kind == "mysql" else ["unique_names"])


async def test_an_index_whose_name_is_taken_is_reported(db: Database) -> None:
    await execute(
        db,
        "CREATE TABLE person (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL)",
        "CREATE INDEX person_name ON person (name, id)",
    )
    report = await prepare(db, PEOPLE)
    assert report.added == ()
    assert report.differences == (
        "index person (name) is missing, and its name person_name is taken by the one in the database",
        "person has an index person_name (name, id) that is not in the model",
    )


async def test_the_lock_is_taken_only_when_something_is_missing(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await prepare(db, PEOPLE)
    monkeypatch.setattr(locking, "lock_of", lambda db: pytest.fail("the lock was taken"))
    assert await add_tables(db, (PEOPLE,)) == ()


class Own(Repository):
    """Makes its table itself."""

    model = Person

    def init_table(self, db: peewee.Database) -> None:
        super().init_table(db)
        self.called = getattr(self, "called", 0) + 1


async def test_an_owner_that_makes_its_table_itself_is_asked_every_time(db: Database) -> None:
    own = Own()
    await add_tables(db, (own,))
    await add_tables(db, (own,))
    assert own.called == 2
    assert await tables(db) == ["person"]


@pytest.mark.parametrize(
    ("declared", "found", "same"),
    [
        ("VARCHAR(255)", "character varying(255)", True),
        ("VARCHAR(255)", "varchar(20)", False),
        ("INTEGER", "int(11)", True),
        ("SERIAL", "integer", True),
        ("BIGINT", "integer", False),
        ("BOOL", "tinyint(1)", True),
        ("TIMESTAMP", "timestamp without time zone", True),
        ("NUMERIC(10, 5)", "numeric(10,5)", True),
        ("NUMERIC(10, 5)", "numeric(8,2)", False),
        ("TEXT", "varchar(20)", False),
        ("TSVECTOR", "text", True),
    ],
)
def test_types_are_the_same_under_the_names_of_each_database(declared: str, found: str, same: bool) -> None:
    assert same_type(declared, found) is same


@pytest.mark.parametrize(
    ("field", "sql"),
    [
        (peewee.CharField(default="it's"), "'it''s'"),
        (peewee.CharField(default="100%"), None),
        (peewee.CharField(default="a\\b"), None),
        (peewee.CharField(default="two\nlines"), None),
        (peewee.CharField(default=str), None),
        (peewee.CharField(), None),
        (peewee.DoubleField(default=float("nan")), None),
        (peewee.BooleanField(default=False), "0"),
        (peewee.UUIDField(default=uuid.UUID(int=1)), "'00000000000000000000000000000001'"),
    ],
)
def test_a_default_is_written_in_sql_only_where_every_driver_reads_it_alike(field: Any, sql: str | None) -> None:
    assert default_in_sql(peewee.SqliteDatabase(":memory:"), field) == sql
