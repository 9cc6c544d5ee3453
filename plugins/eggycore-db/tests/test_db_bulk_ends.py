"""How batches end: in transactions, cancelled, interrupted, refused."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from importlib import import_module
from typing import Any

import peewee
import psycopg2
import pymysql
import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_db import Database, Model
from eggycore_db.bulk_errors import BulkInterrupted, BulkRefused

stored = import_module("plugins.eggycore-db.tests.books")
Book = stored.Book
TABLES = stored.TABLES
dsn_of = stored.dsn_of
opened = stored.opened
books = stored.books
sqlite = stored.sqlite
book = stored.book
numbers = stored.numbers


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
