"""Repositories: registration, and the making of tables."""

from __future__ import annotations

import peewee
import pytest

from eggycore.diagnostics import diagnose, render
from eggycore_db import (
    Database,
    Model,
    Repository,
    TableNotMade,
    TableTaken,
    initialize_all_tables,
    register_repository,
)

pytestmark = pytest.mark.usefixtures("registered")


class Form(Model):
    title = peewee.CharField(index=True)


class Forms(Repository):
    model = Form


class Audit:
    """A repository that is not derived from ours."""

    table_name = "audit"

    def init_table(self, db: peewee.Database) -> None:
        db.execute_sql("CREATE TABLE IF NOT EXISTS audit (line TEXT)")


async def test_registered_tables_are_made_with_their_indexes_and_kept_when_made_again(db: Database) -> None:
    assert register_repository(Forms) is Forms
    audit = Audit()
    assert register_repository(audit) is audit
    assert await initialize_all_tables(db) == ("form", "audit")
    await db.create(Form, title="kept")
    assert await initialize_all_tables(db) == ("form", "audit")
    assert await db.run(db.peewee.get_tables) == ["audit", "form"]
    assert [index.columns for index in await db.run(db.peewee.get_indexes, "form")] == [["title"]]
    assert await db.scalar(Form.select(peewee.fn.COUNT(Form.id))) == 1


async def test_a_table_that_cannot_be_made_is_told_and_none_is_made(db: Database) -> None:
    class Broken(Audit):
        table_name = "broken"

        def init_table(self, db: peewee.Database) -> None:
            db.execute_sql("CREATE TABEL broken (line TEXT)")

    register_repository(Audit)
    register_repository(Broken)
    with pytest.raises(TableNotMade) as told:
        await initialize_all_tables(db)
    name = f"{Broken.__module__}.{Broken.__qualname__}"
    assert render(diagnose(told.value)) == (
        f"The table broken of {name} could not be made.\n"
        '  cause:  near "TABEL": syntax error.\n'
        f"  action: Look at the model and init_table of {name}."
    )
    assert await db.run(db.peewee.get_tables) == []


def test_two_repositories_of_one_table_are_refused() -> None:
    class Others(Forms):
        pass

    register_repository(Forms)
    register_repository(Forms)
    with pytest.raises(TableTaken) as taken:
        register_repository(Others)
    assert render(diagnose(taken.value)) == (
        "The table form belongs to two repositories.\n"
        f"  cause:  {__name__}.Forms has registered it, and {__name__}.{Others.__qualname__} wants it too.\n"
        "  action: Give one of them another table_name."
    )


def test_something_that_owns_no_table_is_refused() -> None:
    with pytest.raises(TypeError) as refused:
        register_repository(dict)
    assert str(refused.value) == "register_repository() takes a repository with table_name and init_table(db), not dict"
