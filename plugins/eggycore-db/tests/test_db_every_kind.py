"""The facade is the same on every kind of database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import peewee
import pytest

from eggycore_db import Database, Model


class Form(Model):
    title = peewee.CharField()
    made = peewee.DateTimeField(default=lambda: datetime.now(UTC).replace(tzinfo=None, microsecond=0))


class Question(Model):
    form = peewee.ForeignKeyField(Form, backref="questions")
    text = peewee.CharField(unique=True)


@pytest.fixture
async def db(every_db: Database) -> AsyncIterator[Database]:
    """A database of each kind with the forms a, b and c."""
    await every_db.run(every_db.peewee.create_tables, [Form, Question])
    for title in "abc":
        await every_db.create(Form, title=title)
    yield every_db


async def test_the_short_forms(db: Database) -> None:
    created = await db.create(Form, title="d")
    assert (created.id, created.title) == (4, "d")
    by_key = await db.get(Form, 4)
    assert (by_key.title, by_key.made) == ("d", created.made)
    assert (await db.get(Form.select().where(Form.title == "b"))).id == 2
    with pytest.raises(Form.DoesNotExist):
        await db.get(Form, 99)
    with pytest.raises(Form.DoesNotExist):
        await db.get(Form.select().where(Form.id == 99))
    assert await db.first(Form.select().where(Form.id == 99)) is None
    assert [form.title for form in await db.list(Form.select().order_by(Form.id))] == ["a", "b", "c", "d"]
    assert await db.scalar(Form.select(peewee.fn.COUNT(Form.id))) == 4
    assert await db.exists(Form.select().where(Form.id == 1)) is True
    assert await db.exists(Form.select().where(Form.id == 99)) is False
    assert await db.list(Form.select(Form.title).where(Form.id == 1).dicts()) == [{"title": "a"}]
    raw = Form.raw(f"SELECT * FROM form WHERE id > {db.peewee.param} ORDER BY id", 3)
    assert [form.title for form in await db.list(raw)] == ["d"]


async def test_execute_returns_the_key_or_the_number_of_rows(db: Database) -> None:
    assert await db.execute(Form.insert(title="d")) == 4
    assert await db.execute(Form.update(title="x").where(Form.id > 2)) == 2
    assert await db.execute(Form.delete().where(Form.id == 4)) == 1
    assert await db.execute(Form.raw("UPDATE form SET title = 'r' WHERE id = 1")) == []


async def test_iterate_yields_every_row_as_it_was_at_the_beginning(db: Database) -> None:
    await db.run(lambda: Form.insert_many([{"title": str(n)} for n in range(900)]).execute())
    seen = []
    async for form in db.iterate(Form.select().order_by(Form.id)):
        seen.append(form.id)
        if form.id % 300 == 0:
            await db.create(Form, title="more")
    assert seen == list(range(1, 904))


async def test_an_iteration_that_is_left_early_leaves_its_connection_fit(db: Database) -> None:
    await db.run(lambda: Form.insert_many([{"title": "t"}] * 2000).execute())
    for _ in range(3):
        rows = db.iterate(Form.select().order_by(Form.id))
        async for form in rows:
            assert form.id == 1
            break
        await rows.aclose()
    async with asyncio.timeout(10):
        while any(pool.in_use for pool in db.pools):
            await asyncio.sleep(0.001)
    assert (await db.get(Form, 2)).title == "b"


async def test_a_row_that_refers_to_nothing_is_refused_and_the_next_one_is_not(db: Database) -> None:
    with pytest.raises(peewee.IntegrityError):
        await db.create(Question, form=99, text="of no form")
    question = await db.create(Question, form=await db.get(Form, 1), text="of a")
    assert (await db.get(Question, question.id)).form_id == 1
    with pytest.raises(peewee.IntegrityError):
        await db.create(Question, form=1, text="of a")


async def test_atomic_inside_a_function_is_all_or_nothing(db: Database) -> None:
    def two(fail: bool) -> None:
        with db.atomic():
            Form.create(title="one")
            if fail:
                raise LookupError
            Form.create(title="two")

    with pytest.raises(LookupError):
        await db.run(two, True)
    assert await db.scalar(Form.select(peewee.fn.COUNT(Form.id))) == 3
    await db.run(two, False)
    assert await db.scalar(Form.select(peewee.fn.COUNT(Form.id))) == 5


async def test_a_session_keeps_one_connection(db: Database) -> None:
    def connection() -> int:
        return id(db.peewee.connection())  # type: ignore[no-untyped-call]  # peewee's stubs lack its types

    async with db.session() as session:
        assert len({await session.run(connection) for _ in range(5)}) == 1
        await session.run(lambda: Form.create(title="in a session"))
    assert await db.exists(Form.select().where(Form.title == "in a session"))


async def test_the_check_is_green_and_doctor_is_told_the_version(db: Database) -> None:
    await db.check()
    version, *_ = await db.examine(replicas=1)
    assert (version.subject, version.state) == ("database default", "ok")
