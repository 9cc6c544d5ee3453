"""`bulk_upsert` and `bulk_update` on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import decimal
import uuid
from collections.abc import Callable
from importlib import import_module

import pytest

from eggycore_db import Database

stored = import_module("plugins.eggycore-db.tests.books")
NOON = stored.NOON
Book = stored.Book
Everything = stored.Everything
Place = stored.Place
dsn_of = stored.dsn_of
opened = stored.opened
books = stored.books
book = stored.book


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
