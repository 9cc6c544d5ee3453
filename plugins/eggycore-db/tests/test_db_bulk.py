"""`bulk_insert`, `bulk_upsert` and `bulk_update` on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import re
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import peewee
import psycopg2
import pymysql
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eggycore.diagnostics import diagnose, render
from eggycore_db import Database, Model
from eggycore_db.bulk_errors import BulkInterrupted, BulkRefused
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


class Alive(dict[str, object]):
    """A row that knows how many of its kind there are."""

    now = 0
    most = 0

    def __init__(self, row: dict[str, object]) -> None:
        super().__init__(row)
        Alive.now += 1
        Alive.most = max(Alive.most, Alive.now)

    def __del__(self) -> None:
        Alive.now -= 1


async def test_a_hundred_thousand_rows_of_an_async_generator_pass_in_constant_memory(books: Database) -> None:
    async def source() -> AsyncIterator[dict[str, object]]:
        for number in range(100_000):
            yield Alive(book(number, pages=number % 7))

    Alive.most = Alive.now
    before, steps = Alive.now, []
    result = await books.bulk_insert(Book, source(), on_progress=steps.append)
    assert (result.written, result.failed, result.errors) == (100_000, 0, ())
    assert steps == list(range(1000, 100_001, 1000))
    assert Alive.most - before <= 4 * 1000  # two under way, one being taken, one that is just let go
    assert await books.scalar(Book.select(peewee.fn.COUNT(Book.id))) == 100_000
    assert await books.scalar(Book.select(peewee.fn.SUM(Book.pages))) == sum(n % 7 for n in range(100_000))


async def test_nothing_is_a_batch_too(books: Database) -> None:
    result = await books.bulk_insert(Book, [])
    assert (result.written, result.failed) == (0, 0)


async def test_every_kind_of_value_is_written_as_by_create(books: Database) -> None:
    author = await books.create(Author, name="a")
    rows: list[dict[str, Any]] = [
        {
            "text": 'tab\t nl\n cr\r back\\slash \\N quote\' "double" %s %% ünï 🐣',
            "amount": decimal.Decimal("12.34"),
            "ratio": 0.1,
            "flag": True,
            "at": NOON,
            "day": NOON.date(),
            "data": b"\x00\\\xff'%s\n",
            "ident": uuid.UUID(int=7),
            "document": {"a": [1, None, "ü%s\\"], "b": {"c": True}},
            "big": 2**40,
        },
        dict.fromkeys(("text", "amount", "ratio", "flag", "at", "day", "data", "ident", "document", "big")),
        {"text": "", "flag": False, "at": "2026-11-21 12:00:00", "day": NOON, "data": "text", "document": []},
        {"text": "\\.", "document": "text", "large": 5},
        {"document": 7, "big": -1},
    ]
    if books.kind == "mysql":  # peewee's own JSON is that of MySQL, which MariaDB does not take
        rows[0]["document"] = rows[2]["document"] = rows[3]["document"] = rows[4]["document"] = None
    for row in rows:
        single = dict(row)
        if "large" in single:
            single["big"] = single.pop("large")
        await books.create(Everything, **single)
    for batch in (rows, [Everything(**{"big" if k == "large" else k: v for k, v in row.items()}) for row in rows]):
        result = await books.bulk_insert(Everything, batch)
        assert (result.written, result.errors) == (5, ())

    def by_text() -> list[dict[str, Any]]:
        found = [dict(row.__data__) for row in Everything.select().order_by(Everything.id)]
        for row in found:
            row.pop("id")
            row["data"] = None if row["data"] is None else bytes(row["data"])
        return sorted(found, key=repr)

    found = await books.run(by_text)
    assert found[::3] == found[1::3] == found[2::3]
    assert len(found) == 15
    result = await books.bulk_insert(Book, [book(1, author=author), book(2, author_id=author.id), book(3, author=None)])
    assert result.errors == ()
    stored = await books.list(Book.select(Book.author, Book.state).order_by(Book.number).tuples())
    assert stored == [(author.id, "new"), (author.id, "new"), (None, "new")]


async def test_rows_of_different_fields_get_the_models_defaults_and_the_keys_of_the_database(books: Database) -> None:
    rows = [book(1, state="old"), book(2), Book(title="t3", number=3), book(4, id=None, pages=4), book(5, id=500)]
    result = await books.bulk_insert(Book, rows)
    assert (result.written, result.errors) == (5, ())
    found = await books.list(Book.select(Book.id, Book.state, Book.pages).order_by(Book.number).tuples())
    assert [(state, pages) for _, state, pages in found] == [
        ("old", None), ("new", None), ("new", None), ("new", 4), ("new", None),
    ]  # fmt: skip
    assert found[4][0] == 500
    assert len({key for key, _, _ in found}) == 5


async def test_rows_may_refer_to_rows_that_follow_them_although_another_row_is_bad(books: Database) -> None:
    rows = [
        {"id": 1, "name": "leaf", "parent": 4},
        {"id": 2, "name": "lost", "parent": 99},
        {"id": 3, "name": "leaf", "parent": 4},
        {"id": 4, "name": "root", "parent": None},
    ]
    result = await books.bulk_insert(Node, rows)
    assert (result.written, [error.index for error in result.errors]) == (3, [1])
    assert [row[0] for row in await books.list(Node.select(Node.id).order_by(Node.id).tuples())] == [1, 3, 4]


@given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=20))
@example(texts=["a\x1fb", "'", "\\.", ""])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_text_survives(books: Database, texts: list[str]) -> None:
    await books.run(lambda: Everything.delete().execute())
    await books.bulk_insert(Everything, [{"text": text} for text in texts], concurrency=1)
    found = await books.list(Everything.select(Everything.text).order_by(Everything.id).tuples())
    assert [row[0] for row in found] == texts


# --- bad rows


async def test_a_bad_row_costs_itself_wherever_it_stands(books: Database) -> None:
    await books.create(Book, title="there", number=10)
    rows: list[Any] = [book(number) for number in range(3000)]
    rows[0] = book(10)
    rows[1] = {"title": None, "number": 1}
    rows[1000] = book(1000, author=12345)
    rows[1500] = book(1500, titel="x")
    rows[1501] = 7
    rows[1502] = book(1502, pages=peewee.fn.ABS(-3))
    rows[2000] = rows[2001] = book(2000)
    rows[2999] = {"number": 2999}
    result = await books.bulk_insert(Book, rows)
    assert [error.index for error in result.errors] == [0, 1, 10, 1000, 1500, 1501, 1502, 2001, 2999]
    assert (result.written, result.failed) == (2991, 9)
    assert len(await numbers(books)) == 2992
    reasons = {error.index: (error.reason, error.code) for error in result.errors}
    assert reasons[1500] == ("Book has no field 'titel'", "")
    assert reasons[1501] == ("it is neither a mapping nor a Book but a int", "")
    assert reasons[1502] == ("pages: an SQL expression cannot be written in a batch", "")
    assert (
        reasons[0]
        == {
            "sqlite": ("UNIQUE constraint failed: book.number", "SQLITE_CONSTRAINT_UNIQUE"),
            "postgresql": ('duplicate key value violates unique constraint "book_number"', "23505"),
            "mysql": ("Duplicate entry '10' for key 'book_number'", "1062"),
        }[books.kind]
    )
    assert (
        reasons[1][0]
        == {
            "sqlite": "NOT NULL constraint failed: book.title",
            "postgresql": 'null value in column "title" of relation "book" violates not-null constraint',
            "mysql": "Column 'title' cannot be null",
        }[books.kind]
    )
    assert reasons[1000][1] == {
        "sqlite": "SQLITE_CONSTRAINT_FOREIGNKEY", "postgresql": "23503", "mysql": "1452",
    }[books.kind]  # fmt: skip
    assert reasons[2999][1] == {
        "sqlite": "SQLITE_CONSTRAINT_NOTNULL", "postgresql": "23502", "mysql": "1364",
    }[books.kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_value_that_the_column_does_not_take_costs_its_row(dsn_of: Callable[[str], str], kind: str) -> None:
    async with opened(dsn_of(kind)) as db:
        rows = [book(1), book(2, title="x" * 41), book(3, pages="many"), book(4, pages=2**40), book(5)]
        if kind == "postgresql":
            rows.append(book(6, title="nul\0"))
        result = await db.bulk_insert(Book, rows)
        assert [error.index for error in result.errors] == [1, 2, 3, 5][: len(rows) - 2]
        assert await numbers(db) == [1, 5]


@given(size=st.integers(1, 9), bad=st.sets(st.integers(0, 29)), concurrency=st.integers(1, 3))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_exactly_the_bad_rows_fail(books: Database, size: int, bad: set[int], concurrency: int) -> None:
    await books.run(lambda: Book.delete().execute())
    rows = [book(number, title=None if number in bad else "good") for number in range(30)]
    result = await books.bulk_insert(Book, rows, batch_size=size, concurrency=concurrency)
    assert [error.index for error in result.errors] == sorted(bad)
    assert (result.written, result.failed) == (30 - len(bad), len(bad))
    assert await numbers(books) == sorted(set(range(30)) - bad)


async def test_the_first_thousand_errors_are_kept_and_all_are_counted(sqlite: Database) -> None:
    result = await sqlite.bulk_insert(Book, ({"title": str(number)} for number in range(5000)), batch_size=300)
    assert (result.written, result.failed) == (0, 5000)
    assert [error.index for error in result.errors] == list(range(1000))
    assert "title" not in repr(result)


async def test_a_constraint_that_is_checked_at_the_end_finds_its_row(postgres: Database) -> None:
    await postgres.run(
        lambda: postgres.peewee.execute_sql(
            "ALTER TABLE book ADD CONSTRAINT late UNIQUE (title) DEFERRABLE INITIALLY DEFERRED"
        )
    )
    result = await postgres.bulk_insert(Book, [book(1), book(2), book(3, title="t1"), book(4)])
    assert [(error.index, error.code) for error in result.errors] == [(2, "23505")]
    assert await numbers(postgres) == [1, 2, 4]


async def test_what_copy_refuses_is_inserted(postgres: Database) -> None:
    class Shown(Model):
        name = peewee.CharField()

        class Meta:
            table_name = "shown"
            primary_key = False

    await postgres.run(lambda: postgres.peewee.execute_sql("CREATE VIEW shown AS SELECT name FROM author"))
    sent: list[str] = []
    postgres.peewee.query_hooks.append(lambda event: sent.append(event.sql.split()[0]))
    result = await postgres.bulk_insert(Shown, ({"name": str(n)} for n in range(50)), batch_size=10, concurrency=1)
    assert (result.written, result.errors) == (50, ())
    assert sent.count("COPY") == 1


async def test_a_time_with_a_zone_is_converted_for_a_column_without_as_by_create(postgres: Database) -> None:
    zoned = NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=5)))
    await postgres.create(Everything, at=zoned)
    await postgres.bulk_insert(Everything, [{"at": zoned}])
    first, second = await postgres.list(Everything.select(Everything.at).tuples())
    assert first == second


async def test_rows_are_split_by_what_mariadb_takes_at_once(mariadb: Database) -> None:
    await mariadb.run(lambda: mariadb.peewee.execute_sql("ALTER TABLE everything MODIFY text LONGTEXT"))
    most = await mariadb.run(lambda: mariadb.peewee.execute_sql("SELECT @@max_allowed_packet").fetchone()[0])
    half, whole = "x" * (most // 2), "x" * most
    result = await mariadb.bulk_insert(Everything, [{"text": half}, {"text": "y"}, {"text": whole}, {"text": half}])
    assert result.written == 3
    assert [error.index for error in result.errors] == [2]
    assert re.fullmatch(
        r"the row has \d+ bytes, and the server takes \d+ at once \(max_allowed_packet\)", result.errors[0].reason
    )


# --- upsert and update


async def test_upsert_updates_what_the_row_has_and_inserts_with_defaults(books: Database) -> None:
    await books.bulk_insert(Book, [book(1, pages=1, state="old"), book(2, pages=2, state="old")])
    rows = [{"number": 2, "title": "new"}, {"number": 3, "title": "new", "pages": 3}]
    result = await books.bulk_upsert(Book, rows, conflict=[Book.number])
    assert (result.written, result.errors) == (2, ())
    found = await books.list(Book.select(Book.title, Book.pages, Book.state).order_by(Book.number).tuples())
    assert found == [("t1", 1, "old"), ("new", 2, "old"), ("new", 3, "new")]


async def test_upsert_updates_only_the_fields_named_or_nothing(books: Database) -> None:
    await books.bulk_insert(Book, [book(1, pages=1)])
    await books.bulk_upsert(Book, [book(1, title="x", pages=9)], conflict=["number"], update=["pages"])
    await books.bulk_upsert(Book, [book(1, title="y", pages=8), book(2)], conflict=["number"], update=[])
    found = await books.list(Book.select(Book.title, Book.pages).order_by(Book.number).tuples())
    assert found == [("t1", 9), ("t2", None)]


async def test_of_rows_with_one_key_the_last_wins(books: Database) -> None:
    rows = [{"id": 1 + number % 3, "number": number % 3, "title": f"n{number}"} for number in range(30)]
    result = await books.bulk_upsert(Book, rows, batch_size=7)
    assert (result.written, result.errors) == (30, ())
    titles = Book.select(Book.title).order_by(Book.id).tuples()
    assert await books.list(titles) == [("n27",), ("n28",), ("n29",)]
    result = await books.bulk_update(Book, [{"id": 1 + n % 3, "title": f"u{n}"} for n in range(30)], batch_size=11)
    assert (result.written, result.errors) == (30, ())
    assert await books.list(titles) == [("u27",), ("u28",), ("u29",)]


async def test_bad_rows_of_an_upsert_cost_themselves(books: Database) -> None:
    rows = [book(number, title=None if number % 5 == 2 else "good") for number in range(20)]
    result = await books.bulk_upsert(Book, rows, conflict=["number"], batch_size=8)
    assert [error.index for error in result.errors] == [2, 7, 12, 17]
    assert result.written == 16


async def test_update_writes_to_each_row_its_own_values_and_names_those_that_are_not_there(books: Database) -> None:
    await books.bulk_insert(Book, (book(number, pages=number) for number in range(350)))
    rows = [{"number": number, "pages": number * 2, "title": f"u{number}"} for number in range(350)]
    rows[120] = {"number": 9999, "pages": 1, "title": "?"}
    rows[121] = {"number": 121, "pages": 121, "title": "t121"}  # as it is: MariaDB counts it as not changed
    rows[122] = {"number": 122, "pages": None, "title": "u122"}
    rows[123] = {"number": 123, "pages": 5, "title": None}
    result = await books.bulk_update(Book, rows, by=["number"])
    assert [error.index for error in result.errors] == [120, 123]
    assert result.errors[0].reason == "no row has this key"
    assert result.written == 348
    found = await books.list(Book.select(Book.pages, Book.title).order_by(Book.number).tuples())
    assert found[:2] == [(0, "u0"), (2, "u1")]
    assert found[120:124] == [(120, "t120"), (121, "t121"), (None, "u122"), (123, "t123")]


async def test_update_of_every_kind_of_value(books: Database) -> None:
    await books.bulk_insert(Everything, [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}])
    values = {
        "text": "new % \\ '", "amount": decimal.Decimal("1.50"), "ratio": 2.5, "flag": True, "at": NOON,
        "day": NOON.date(), "data": b"\x00\xff", "ident": uuid.UUID(int=9), "document": {"a": 1}, "big": 2**50,
    }  # fmt: skip
    result = await books.bulk_update(Everything, [{"id": 1, **values}, {"id": 2, **dict.fromkeys(values)}])
    assert (result.written, result.errors) == (2, ())
    one, two = await books.list(Everything.select().order_by(Everything.id))
    assert {name: getattr(one, name) for name in values} | {"data": bytes(one.data)} == values
    assert {getattr(two, name) for name in values} == {None}


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_an_update_cuts_nothing_off(dsn_of: Callable[[str], str], kind: str) -> None:
    async with opened(dsn_of(kind)) as db:
        await db.bulk_insert(Book, [book(1), book(2)])
        rows = [{"number": 1, "title": "x" * 41}, {"number": 2, "title": "y" * 40}]
        result = await db.bulk_update(Book, rows, by=["number"])
        assert [(error.index, error.code) for error in result.errors] == [
            (0, {"postgresql": "22001"}.get(kind, "1406"))
        ]
        assert await db.list(Book.select(Book.title).order_by(Book.number).tuples()) == [("t1",), ("y" * 40,)]


async def test_update_finds_rows_by_several_fields(books: Database) -> None:
    await books.bulk_insert(Place, [{"row": r, "seat": s} for r in range(3) for s in "ab"])
    rows = [{"row": 1, "seat": "a", "guest": "x"}, {"row": 2, "seat": "b", "guest": "y"}, {"row": 9, "seat": "a"}]
    result = await books.bulk_update(Place, [*rows, {"row": 8, "seat": "a", "guest": "z"}])
    assert [(error.index, error.reason) for error in result.errors] == [
        (2, "it has nothing to update"), (3, "no row has this key"),
    ]  # fmt: skip
    guests = Place.select(Place.row, Place.seat, Place.guest).where(Place.guest.is_null(False)).order_by(Place.row)
    assert await books.list(guests.tuples()) == [(1, "a", "x"), (2, "b", "y")]
    result = await books.bulk_upsert(Place, [{"row": 1, "seat": "a", "guest": "n"}, {"row": 7, "seat": "a"}])
    assert (result.written, result.errors) == (2, ())
    assert await books.list(guests.tuples()) == [(1, "a", "n"), (2, "b", "y")]


async def test_update_of_some_fields_of_models(books: Database) -> None:
    await books.bulk_insert(Book, [book(1), book(2)])
    found = await books.list(Book.select().order_by(Book.number))
    for one in found:
        one.title, one.state = "changed", "changed"
    result = await books.bulk_update(Book, [*found, Book(number=3)], fields=[Book.title])
    assert (result.written, [error.reason for error in result.errors]) == (2, ["it has no id"])
    assert await books.list(Book.select(Book.title, Book.state).tuples()) == [("changed", "new")] * 2


# --- transactions, progress, cancellation


async def test_inside_a_transaction_it_belongs_to_it(books: Database) -> None:
    rows = [book(number, title=None if number == 5 else "t") for number in range(30)]
    with pytest.raises(LookupError):
        async with books.transaction():
            assert (await books.bulk_insert(Book, rows, batch_size=7)).written == 29
            assert await books.scalar(Book.select(peewee.fn.COUNT(Book.id))) == 29
            raise LookupError
    assert await numbers(books) == []
    async with books.transaction():
        await books.create(Book, title="before", number=100)
        result = await books.bulk_insert(Book, rows, batch_size=7)
    assert [error.index for error in result.errors] == [5]
    assert await numbers(books) == [*(n for n in range(30) if n != 5), 100]


async def test_progress_may_be_awaited(sqlite: Database) -> None:
    steps: list[int] = []

    async def note(done: int) -> None:
        await asyncio.sleep(0)
        steps.append(done)

    await sqlite.bulk_insert(Book, map(book, range(25)), batch_size=10, on_progress=note)
    assert steps == [10, 20, 25]


async def test_a_slow_source_does_not_keep_back_what_became_of_the_rows_before(sqlite: Database) -> None:
    dealt_with = asyncio.Event()

    async def source() -> AsyncIterator[dict[str, object]]:
        for number in range(10):
            yield book(number)
        while not dealt_with.is_set():
            await asyncio.sleep(0.001)
            yield book(number := number + 1)

    result = await sqlite.bulk_insert(Book, source(), batch_size=10, on_progress=lambda _: dealt_with.set())
    assert result.failed == 0


async def test_cancelled_half_way_it_keeps_whole_batches(books: Database) -> None:
    half, closed = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncIterator[dict[str, object]]:
        try:
            for number in range(1_000_000):
                yield book(number)
        finally:
            closed.set()

    writing = asyncio.create_task(
        books.bulk_insert(Book, source(), batch_size=100, on_progress=lambda done: half.set() if done > 500 else None)
    )
    await half.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert closed.is_set()
    await asyncio.gather(*(books.run(int) for _ in range(8)))  # what was under way has ended
    found = await numbers(books)
    assert len(found) >= 500
    assert {sum(1 for n in found if n // 100 == part) for part in {n // 100 for n in found}} == {100}


async def test_no_value_is_shown_to_what_watches_queries(books: Database) -> None:
    seen: list[Any] = []
    books.peewee.query_hooks.append(lambda event: seen.append(event.sql))
    await books.bulk_insert(Book, [book(1, title="hunter2"), book(1, title="hunter2")])
    await books.bulk_update(Book, [{"number": 1, "title": "hunter2 again"}], by=["number"])
    assert any("book" in sql for sql in seen)
    assert "hunter2" not in "".join(seen)


# --- what interrupts


async def test_a_source_that_fails_is_told_with_what_was_written(books: Database) -> None:
    def source() -> Iterator[dict[str, object]]:
        for number in range(25):
            yield book(number)
        raise OSError("the file ends in the middle of a line\nsecret")

    with pytest.raises(BulkInterrupted) as interrupted:
        await books.bulk_insert(Book, source(), batch_size=10)
    assert render(diagnose(interrupted.value)) == (
        "Writing rows into book was interrupted.\n"
        "  cause:  OSError: the file ends in the middle of a line. "
        "Of 20 rows taken 20 are written and 0 were refused.\n"
        "  action: Remove the cause and go on from row 20, counted from 0, with bulk_upsert: "
        "some of those from there on may be written already."
    )
    assert isinstance(interrupted.value.__cause__, OSError)
    assert len(await numbers(books)) == interrupted.value.written == interrupted.value.resume


async def test_a_table_that_is_not_there_ends_it_at_once(books: Database) -> None:
    await books.run(lambda: books.peewee.drop_tables([Book]))
    with pytest.raises(BulkInterrupted) as interrupted:
        await books.bulk_insert(Book, map(book, range(10_000)), concurrency=1)
    assert (interrupted.value.written, interrupted.value.failed) == (0, 0)
    assert interrupted.value.taken <= 2000
    assert isinstance(interrupted.value.cause, peewee.PeeweeException)


async def test_inside_a_transaction_what_ends_it_is_raised_as_it_is(books: Database) -> None:
    await books.run(lambda: books.peewee.drop_tables([Book]))
    with pytest.raises(peewee.PeeweeException):
        async with books.transaction():
            await books.bulk_insert(Book, map(book, range(10)))


class Lock:
    """Another connection that holds the table, and ends the one that waits for it."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def lock(self) -> None:
        if self._dsn.startswith("postgresql"):
            self.connection: Any = psycopg2.connect(self._dsn)
            self.run("LOCK TABLE book IN ACCESS EXCLUSIVE MODE")
        else:
            name = self._dsn.rpartition("/")[2]
            port = int(self._dsn.rpartition(":")[2].split("/")[0])
            self.connection = pymysql.connect(host="127.0.0.1", port=port, user="root", database=name)
            self.run("LOCK TABLES book WRITE")

    def run(self, sql: str) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def waiting(self) -> list[int]:
        """Connections to this database that wait for the lock."""
        if self._dsn.startswith("postgresql"):
            return [
                row[0] for row in self.run("SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'book'::regclass")
            ]
        sql = "SELECT id FROM information_schema.processlist WHERE db = database() AND state LIKE 'Waiting for table%'"
        return [row[0] for row in self.run(sql)]

    def kill(self, number: int) -> None:
        if self._dsn.startswith("postgresql"):
            self.run(f"SELECT pg_terminate_backend({number})")
        else:
            self.run(f"KILL CONNECTION {number}")


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_connection_that_is_killed_interrupts_it_and_says_how_far_it_got(
    dsn_of: Callable[[str], str], kind: str
) -> None:
    dsn = dsn_of(kind)
    lock = Lock(dsn)
    locked = threading.Event()

    def kill_who_waits() -> None:
        with closing(lock.connection):
            while not (waiting := lock.waiting()):
                pass
            lock.kill(waiting[0])
            locked.set()

    async def source() -> AsyncIterator[dict[str, object]]:
        for number in range(2000):
            yield book(number)
        while len(await numbers(db)) < 2000:
            pass
        await asyncio.to_thread(lock.lock)
        for number in range(2000, 3000):
            yield book(number)
        await asyncio.to_thread(kill_who_waits)

    async with opened(dsn) as db:
        with pytest.raises(BulkInterrupted) as interrupted:
            await db.bulk_insert(Book, source())
        detail = {  # what the server says last does not always arrive
            "postgresql": "(server closed the connection unexpectedly .*|terminating connection due to .*)",
            "mysql": r"(Lost connection to MySQL server during query \(2013\)|Connection was killed \(1927\))",
        }[kind]
        assert re.fullmatch(
            "Writing rows into book was interrupted.\n"
            rf"  cause:  {db.location}: The connection was lost \({detail}\)\. "
            r"Of 3000 rows taken 2000 are written and 0 were refused\.\n"
            r"  action: Remove the cause and go on from row 2000, counted from 0, with bulk_upsert: "
            r"some of those from there on may be written already\.",
            render(diagnose(interrupted.value)),
        )
        assert locked.is_set()
        assert await numbers(db) == list(range(2000))
        rest_of_them = await db.bulk_upsert(Book, map(book, range(interrupted.value.resume, 3000)), conflict=["number"])
        assert (rest_of_them.written, len(await numbers(db))) == (1000, 3000)


async def test_a_batch_that_loses_a_deadlock_is_written_again(postgres_dsn: str) -> None:
    async with opened(postgres_dsn) as db:
        await db.bulk_insert(Book, [book(1), book(2)])
        with closing(psycopg2.connect(postgres_dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SET deadlock_timeout = '60s'")  # so that the batch finds it first
            cursor.execute("UPDATE book SET pages = 2 WHERE number = 2")
            rows = [{"number": 1, "title": "batch"}, {"number": 2, "title": "batch"}]
            writing = asyncio.create_task(db.bulk_update(Book, rows, by=["number"], batch_size=2))

            def meet() -> None:
                while True:
                    cursor.execute(
                        "SELECT 1 FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid"
                    )
                    if cursor.fetchall():
                        break
                cursor.execute("UPDATE book SET pages = 1 WHERE number = 1")
                connection.commit()

            await asyncio.to_thread(meet)
            result = await writing
        assert (result.written, result.errors) == (2, ())
        found = await db.list(Book.select(Book.title, Book.pages).order_by(Book.number).tuples())
        assert found == [("batch", 1), ("batch", 2)]


def test_rows_in_doubt_are_named() -> None:
    error = BulkInterrupted("book", 30, 10, 1, 10, 11, ValueError("x"))
    assert diagnose(error).cause == (
        "ValueError: x. Of 30 rows taken 10 are written and 1 were refused. "
        "10 more may be: the answer to their commit was lost."
    )


# --- what is asked for wrongly


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (
            lambda db: db.bulk_upsert(Book, [], conflict=["nunber"]),
            "Book has no field nunber.\n"
            "  cause:  Its fields are id, title, number, pages, state, author.\n"
            "  action: Write number.",
        ),
        (
            lambda db: db.bulk_update(Book, [], fields=["zzz"]),
            "Book has no field zzz.\n"
            "  cause:  Its fields are id, title, number, pages, state, author.\n"
            "  action: Name one of them.",
        ),
        (
            lambda db: db.bulk_update(Book, [], fields=["number"], by=["number"]),
            "Book is to be updated in number and searched by it.\n"
            "  cause:  Rows are found by the values that they have before.\n"
            "  action: Leave number out of fields or out of by.",
        ),
        (
            lambda db: db.bulk_update(Book, [], fields=[]),
            "Book is to be updated in no field.\n"
            "  cause:  The list of fields is empty.\n"
            "  action: Name a field, or leave the list out for all that a row has.",
        ),
    ],
)
async def test_a_wrong_request_is_refused(sqlite: Database, ask: Callable[[Database], Any], told: str) -> None:
    with pytest.raises(BulkRefused) as refused:
        await ask(sqlite)
    assert render(diagnose(refused.value)) == told


async def test_a_model_without_a_key_says_so(sqlite: Database) -> None:
    class Loose(Model):
        name = peewee.CharField()

        class Meta:
            primary_key = False

    with pytest.raises(BulkRefused) as refused:
        await sqlite.bulk_update(Loose, [])
    assert render(diagnose(refused.value)) == (
        "Loose has no primary key.\n"
        "  cause:  It is what rows are found by when no fields are named.\n"
        "  action: Name the fields that a row is found by."
    )


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"concurrency": 0}])
async def test_sizes_are_at_least_one(sqlite: Database, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        await sqlite.bulk_insert(Book, [], **wrong)
