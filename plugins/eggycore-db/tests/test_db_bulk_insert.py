"""`bulk_insert` on SQLite, PostgreSQL and MariaDB: every kind of value, and bad rows among good ones."""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eggycore_db import Database, Model

stored = import_module("plugins.eggycore-db.tests.books")
NOON = stored.NOON
Author = stored.Author
Book = stored.Book
Everything = stored.Everything
Node = stored.Node
dsn_of = stored.dsn_of
opened = stored.opened
books = stored.books
postgres = stored.postgres
sqlite = stored.sqlite
mariadb = stored.mariadb
book = stored.book
numbers = stored.numbers


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
