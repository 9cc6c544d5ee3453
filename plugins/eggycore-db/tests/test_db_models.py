"""Models belong to no database: the one they work on is that of the worker, the script or the runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest

from eggycore.config import Secret
from eggycore.diagnostics import diagnose, render
from eggycore_db import Database, DatabaseSettings, Model, NoDatabase, close, connect, get_db, set_db


class Note(Model):
    text = peewee.TextField()
    picture = peewee.BlobField(null=True)
    extra: peewee.Field[object] = peewee.JSONField(null=True)


@pytest.fixture
def nothing_set() -> Iterator[None]:
    before = set_db(None)
    yield
    set_db(before)


async def test_two_databases_in_one_process_do_not_mix(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'a.db'}") as a, Database("sqlite:///:memory:") as b:
        for db in (a, b):
            await db.run(db.peewee.create_tables, [Note])

        async def write(db: Database, text: str) -> None:
            for _ in range(50):
                await db.create(Note, text=text)

        await asyncio.gather(write(a, "a"), write(b, "b"))
        assert {note.text for note in await a.list(Note.select())} == {"a"}
        assert {note.text for note in await b.list(Note.select())} == {"b"}
        assert await a.run(get_db) is a
        assert await b.read(get_db) is b


async def test_blobs_and_json_come_back_as_they_went_in(db: Database) -> None:
    await db.run(db.peewee.create_tables, [Note])
    await db.create(Note, text="t", picture=b"\x00\xff", extra={"a": [1, None]})
    note = await db.get(Note.select())
    assert (note.picture, note.extra) == (b"\x00\xff", {"a": [1, None]})


async def test_a_model_defined_after_opening_works_too(db: Database) -> None:
    class Late(Model):
        data: peewee.Field[object] = peewee.JSONField()

    await db.run(db.peewee.create_tables, [Late])
    await db.create(Late, data={"a": 1})
    assert (await db.get(Late.select())).data == {"a": 1}


async def test_set_db_is_for_scripts(nothing_set: None, path: Path) -> None:
    with pytest.raises(NoDatabase) as none:
        get_db()
    assert render(diagnose(none.value)) == (
        "There is no open database here.\n"
        "  cause:  No runtime with the db plugin is running in this context, and set_db was not called.\n"
        "  action: Use models in handlers and services, or call set_db(await connect(...)) in a script."
    )
    database = await connect(DatabaseSettings(dsn=Secret(f"sqlite:///{path}")))
    assert get_db() is database
    assert await database.run(get_db) is database
    await close()
    await close()
    with pytest.raises(NoDatabase):
        get_db()


async def test_a_query_can_be_shown_without_running_it(db: Database) -> None:
    assert str(Note.select(Note.text).where(Note.id == 1)) == (
        'SELECT "t1"."text" FROM "note" AS "t1" WHERE ("t1"."id" = 1)'
    )


class Counted(Model):
    title = peewee.CharField()
    number = peewee.IntegerField(default=7)

    class Meta:
        table_name = "counted"


class Shouting(Model):
    title = peewee.CharField()

    class Meta:
        table_name = "shouting"

    @classmethod
    def create(cls, **query: Any) -> Shouting:
        return super().create(**{**query, "title": query["title"].upper()})


async def test_create_and_get_by_id_in_a_function_find_defaults_keys_and_missing_rows(every_db: Database) -> None:
    def work() -> tuple[int, int, str]:
        made = Counted.create(title="a")
        with pytest.raises(Counted.DoesNotExist):
            Counted.get_by_id(made.id + 1)
        found = Counted.get_by_id(made.id)
        return found.id - made.id, found.number, found.title

    await every_db.run(every_db.peewee.create_tables, [Counted])
    assert await every_db.run(work) == (0, 7, "a")


async def test_a_create_of_the_model_s_own_is_called(every_db: Database) -> None:
    await every_db.run(every_db.peewee.create_tables, [Shouting])
    assert (await every_db.create(Shouting, title="quiet")).title == "QUIET"
    assert (await every_db.run(Shouting.create, title="quiet")).title == "QUIET"
    assert await every_db.scalar(Shouting.select(peewee.fn.COUNT(Shouting.id)).where(Shouting.title == "QUIET")) == 2
