"""`Database`: work in threads, its short forms, transactions, cancellation and closing."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path

import peewee
import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_db import Database, DatabaseClosed, Model, OutsideWorker, TransactionLeftOpen


class Form(Model):
    title = peewee.CharField()


class Question(Model):
    form = peewee.ForeignKeyField(Form, backref="questions")
    text = peewee.CharField()


async def make_tables(db: Database) -> None:
    await db.run(db.peewee.create_tables, [Form, Question])


@pytest.fixture
async def forms(any_db: Database) -> AsyncIterator[Database]:
    """A database of each shape with the forms a, b and c."""
    await make_tables(any_db)
    for title in "abc":
        await any_db.create(Form, title=title)
    yield any_db


def titles(rows: list[Form]) -> list[str]:
    return [row.title for row in rows]


async def test_create_returns_the_row_with_its_key(forms: Database) -> None:
    created = await forms.create(Form, title="d")
    assert (created.id, created.title) == (4, "d")


async def test_get_returns_the_first_row_or_raises_does_not_exist(forms: Database) -> None:
    assert (await forms.get(Form.select().where(Form.title == "b"))).id == 2
    with pytest.raises(Form.DoesNotExist):
        await forms.get(Form.select().where(Form.title == "z"))
    with pytest.raises(peewee.DoesNotExist, match="the query has no row"):
        await forms.get(Form.raw("SELECT * FROM form WHERE title = 'z'"))


async def test_first_returns_a_row_or_none(forms: Database) -> None:
    found = await forms.first(Form.select().order_by(Form.id.desc()))
    assert found is not None
    assert found.title == "c"
    assert await forms.first(Form.select().where(Form.title == "z")) is None


async def test_list_returns_every_row_also_of_raw_queries_and_dicts(forms: Database) -> None:
    assert titles(await forms.list(Form.select().order_by(Form.id))) == ["a", "b", "c"]
    assert titles(await forms.list(Form.raw("SELECT * FROM form WHERE id > ? ORDER BY id", 1))) == ["b", "c"]
    assert await forms.list(Form.select(Form.title).where(Form.id == 1).dicts()) == [{"title": "a"}]
    union = Form.select(Form.title).where(Form.id == 1) | Form.select(Form.title).where(Form.id == 2)
    assert sorted(titles(await forms.list(union))) == ["a", "b"]


async def test_scalar_and_exists_answer_with_one_value(forms: Database) -> None:
    assert await forms.scalar(Form.select(peewee.fn.MAX(Form.id))) == 3
    assert await forms.exists(Form.select().where(Form.title == "a")) is True
    assert await forms.exists(Form.select().where(Form.title == "z")) is False


async def test_execute_returns_the_key_the_number_of_rows_or_the_rows(forms: Database) -> None:
    assert await forms.execute(Form.insert(title="d")) == 4
    assert await forms.execute(Form.update(title="x").where(Form.id > 2)) == 2
    assert titles(await forms.execute(Form.update(title="y").where(Form.id == 1).returning(Form))) == ["y"]
    assert await forms.execute(Form.delete().where(Form.id == 4)) == 1
    assert await forms.execute(Form.raw("UPDATE form SET title = 'r' WHERE id = 1")) == []
    assert titles(await forms.list(Form.select().order_by(Form.id))) == ["r", "b", "x"]


async def test_a_query_object_can_be_run_again_and_sees_new_rows(forms: Database) -> None:
    everything = Form.select()
    assert len(await forms.list(everything)) == 3
    await forms.create(Form, title="d")
    assert len(await forms.list(everything)) == 4
    await forms.first(everything)
    assert len(await forms.list(everything)) == 4


async def test_iterate_yields_every_row_while_others_read_and_write(any_db: Database) -> None:
    await make_tables(any_db)
    await any_db.run(lambda: Form.insert_many([{"title": str(n)} for n in range(450)]).execute())
    seen = []
    async for form in any_db.iterate(Form.select().order_by(Form.id)):
        seen.append(form.id)
        if form.id % 100 == 0:
            await any_db.create(Form, title="more")
            assert await any_db.scalar(Form.select(peewee.fn.COUNT(Form.id))) == 450 + form.id // 100
    assert seen == list(range(1, 451))


async def test_an_iteration_that_is_left_early_gives_its_connection_back(db: Database) -> None:
    await make_tables(db)
    await db.run(lambda: Form.insert_many([{"title": "t"}] * 1000).execute())
    rows = db.iterate(Form.select())
    async for _ in rows:
        break
    await rows.aclose()
    while db.pools[1].in_use:  # its worker gives it back in a moment
        await asyncio.sleep(0)


async def test_closing_ends_an_iteration_with_an_error(path: Path) -> None:
    async with Database(f"sqlite:///{path}") as db:
        await make_tables(db)
        await db.run(lambda: Form.insert_many([{"title": "t"}] * 1000).execute())
        rows = db.iterate(Form.select())
        await anext(rows)
    with pytest.raises(DatabaseClosed):
        async for _ in rows:
            pass


async def test_run_gives_a_function_its_arguments_and_the_context_variables_of_the_caller(any_db: Database) -> None:
    request_id: ContextVar[str] = ContextVar("request_id")
    request_id.set("r-1")

    def work(first: int, *, second: int) -> tuple[int, int, str]:
        return first, second, request_id.get()

    assert await any_db.run(work, 1, second=2) == (1, 2, "r-1")
    assert await any_db.read(work, 1, second=2) == (1, 2, "r-1")


async def test_the_loop_goes_on_while_a_function_works(db: Database) -> None:
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> bool:
        loop.call_soon_threadsafe(begun.set)
        return go_on.wait(10)

    working = asyncio.create_task(db.run(work))
    await begun.wait()
    assert await db.scalar(peewee.Select(columns=[peewee.SQL("7")])) == 7
    go_on.set()
    assert await working


async def test_what_a_function_raises_reaches_the_caller(any_db: Database) -> None:
    def fail() -> None:
        raise LookupError("no")

    def stop() -> None:
        raise StopIteration

    with pytest.raises(LookupError, match="no"):
        await any_db.run(fail)
    with pytest.raises(RuntimeError, match="stop raised StopIteration"):
        await any_db.run(stop)


async def test_a_coroutine_function_is_refused(db: Database) -> None:
    async def work() -> None: ...

    with pytest.raises(TypeError, match="work is a coroutine function; a worker thread runs plain functions"):
        await db.run(work)


async def test_atomic_commits_all_or_nothing(forms: Database) -> None:
    def two(fail: bool) -> None:
        with forms.atomic():
            Form.create(title="one")
            if fail:
                raise LookupError
            Form.create(title="two")

    with pytest.raises(LookupError):
        await forms.run(two, True)
    assert await forms.scalar(Form.select(peewee.fn.COUNT(Form.id))) == 3
    await forms.run(two, False)
    assert await forms.scalar(Form.select(peewee.fn.COUNT(Form.id))) == 5


async def test_a_transaction_left_open_is_rolled_back_and_told(forms: Database) -> None:
    def careless() -> None:
        forms.peewee.begin()
        Form.create(title="lost")

    def more_careless() -> None:
        forms.peewee.session_start()
        forms.peewee.after_commit(lambda: pytest.fail("it was rolled back"))
        Form.create(title="lost")

    def keep() -> None:
        with forms.atomic():
            Form.create(title="kept")

    for function in (careless, more_careless):
        with pytest.raises(TransactionLeftOpen) as told:
            await forms.run(function)
        assert render(diagnose(told.value)) == (
            f"{function.__qualname__} returned with a transaction open; it was rolled back.\n"
            "  cause:  A connection is handed to the next caller after each function.\n"
            "  action: Use `with db.atomic():` inside the function."
        )
        await forms.run(keep)
    assert await forms.scalar(Form.select(peewee.fn.COUNT(Form.id)).where(Form.title == "lost")) == 0
    assert await forms.scalar(Form.select(peewee.fn.COUNT(Form.id)).where(Form.title == "kept")) == 2


async def test_read_cannot_write(db: Database) -> None:
    await make_tables(db)
    with pytest.raises(peewee.OperationalError, match="attempt to write a readonly database"):
        await db.read(Form.create, title="no")


async def test_a_transaction_in_read_sees_one_state(db: Database) -> None:
    await make_tables(db)
    counted, written = threading.Event(), threading.Event()

    def count_twice() -> tuple[int, int]:
        with db.atomic():
            before = Form.select().count()
            counted.set()
            written.wait(10)
            return before, Form.select().count()

    counting = asyncio.create_task(db.read(count_twice))
    await asyncio.to_thread(counted.wait, 10)
    await db.create(Form, title="later")
    written.set()
    assert await counting == (0, 0)
    assert await db.read(lambda: Form.select().count()) == 1


async def test_work_cancelled_while_it_waits_is_never_done(forms: Database) -> None:
    busy, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def block() -> None:
        loop.call_soon_threadsafe(busy.set)
        go_on.wait(10)

    blocking = asyncio.create_task(forms.run(block))
    await busy.wait()
    waiting = asyncio.create_task(forms.create(Form, title="never"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    await blocking
    assert not await forms.exists(Form.select().where(Form.title == "never"))


@pytest.mark.parametrize("commits", [True, False])
async def test_a_cancelled_caller_leaves_no_transaction_open(forms: Database, commits: bool) -> None:
    inside, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    trouble: list[object] = []
    loop.set_exception_handler(lambda _, context: trouble.append(context))

    def work() -> None:
        forms.peewee.begin()
        Form.create(title="half")
        loop.call_soon_threadsafe(inside.set)
        go_on.wait(10)
        if commits:
            forms.peewee.commit()

    working = asyncio.create_task(forms.run(work))
    await inside.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    go_on.set()
    assert await forms.run(lambda: forms.peewee.connection().in_transaction) is False
    assert await forms.exists(Form.select().where(Form.title == "half")) is commits
    assert trouble == []


async def test_many_callers_at_once_lose_nothing(any_db: Database) -> None:
    await make_tables(any_db)
    await asyncio.gather(*(any_db.create(Form, title=str(n)) for n in range(200)))
    found = await asyncio.gather(*(any_db.first(Form.select().where(Form.title == str(n))) for n in range(200)))
    assert sorted(int(form.title) for form in found if form) == list(range(200))


async def test_a_query_outside_a_worker_is_refused_with_what_to_write(forms: Database) -> None:
    form = await forms.get(Form.select())
    with pytest.raises(OutsideWorker) as refused:
        list(form.questions)
    assert render(diagnose(refused.value)) == (
        "A query was run in the thread MainThread, which has no connection.\n"
        "  cause:  A peewee query waits for the database; in the event loop's thread it would stop every other task.\n"
        "  action: Await it: `await db.list(query)`, or `await db.run(function)` for several."
    )
    with pytest.raises(OutsideWorker):
        forms.atomic().__enter__()


async def test_closing_finishes_what_was_asked_for_and_joins_every_thread(path: Path) -> None:
    db = Database(f"sqlite:///{path}")
    await db.open()
    await make_tables(db)
    writing = [asyncio.create_task(db.create(Form, title=str(n))) for n in range(50)]
    await asyncio.sleep(0)
    await db.close()
    assert [form.title for form in await asyncio.gather(*writing)] == [str(n) for n in range(50)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("eggycore-db")]
    assert [file.name for file in path.parent.iterdir()] == ["test.db"]
    await db.close()


async def test_a_database_that_is_not_open_says_so(path: Path) -> None:
    db = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseClosed) as closed:
        await db.list(Form.select())
    assert render(diagnose(closed.value)) == (
        f"The database {path} is not open.\n"
        "  cause:  It was used before it was opened or after it was closed.\n"
        "  action: Use it between the two: in a handler, in a service's run, or inside `async with`."
    )
    async with db:
        pass
    with pytest.raises(DatabaseClosed):
        await db.run(int)


async def test_committed_rows_are_there_after_reopening(path: Path) -> None:
    async with Database(f"sqlite:///{path}") as db:
        await make_tables(db)
        await db.create(Form, title="kept")
    async with Database(f"sqlite:///{path}") as db:
        assert titles(await db.list(Form.select())) == ["kept"]


async def test_a_transaction_that_may_write_holds_the_lock_from_its_beginning(db: Database, path: Path) -> None:
    await make_tables(db)

    def read_then_write() -> None:
        with db.atomic():
            assert Form.select().count() == 0
            with (
                closing(sqlite3.connect(path, timeout=0)) as other,
                pytest.raises(sqlite3.OperationalError, match="locked"),
            ):
                other.execute("INSERT INTO form (title) VALUES ('other')")
            Form.create(title="ours")

    await db.run(read_then_write)
    assert titles(await db.list(Form.select())) == ["ours"]


async def test_foreign_keys_are_enforced(forms: Database) -> None:
    with pytest.raises(peewee.IntegrityError, match="FOREIGN KEY constraint failed"):
        await forms.create(Question, form=99, text="of no form")


async def test_a_function_that_raises_leaves_no_transaction_open(forms: Database) -> None:
    def fail_inside() -> None:
        forms.peewee.begin()
        Form.create(title="lost")
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        await forms.run(fail_inside)
    assert await forms.run(lambda: forms.peewee.connection().in_transaction) is False
    assert not await forms.exists(Form.select().where(Form.title == "lost"))


async def test_the_values_of_queries_are_not_logged_at_any_level(
    forms: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await forms.create(Form, title="hunter2")
    assert "hunter2" not in caplog.text
