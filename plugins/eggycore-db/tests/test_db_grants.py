"""The SQL of `eggycore db grants`, run on real servers: what each user may do then, and what not."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import peewee
import pytest

from eggycore_db import Database
from eggycore_db.dsn import parse_dsn
from eggycore_db.grants import NoUsers, grants
from eggycore_db.migrations.prepare import prepare_schema

migrating = import_module("plugins.eggycore-db.tests.migrating")
Folder, apply, execute, rows, told = (
    getattr(migrating, name) for name in ("Folder", "apply", "execute", "rows", "told")
)

PASSWORD = "for-a-test"


class Users:
    """Two users of a server that live as long as a test."""

    def __init__(self, dsn: str) -> None:
        self._dsn = urlsplit(dsn)
        ending = uuid.uuid4().hex[:8]
        self.serve, self.migrate = f"serve_{ending}", f"migrate_{ending}"

    def dsn(self, user: str) -> str:
        netloc = f"{user}:{PASSWORD}@{self._dsn.hostname}:{self._dsn.port}"
        return self._dsn._replace(netloc=netloc).geturl()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "migrations")
    folder.write("form", "class Form(Model):\n    title = CharField()\n    class Meta:\n        database = db\n"
                 "db.create_tables([Form])", 'db.execute_sql("DROP TABLE form")')  # fmt: skip
    return folder


@asynccontextmanager
async def granted(dsn: str, create: str, drop: tuple[str, ...]) -> AsyncIterator[Users]:
    """Both users, with what `grants` gives them."""
    users = Users(dsn)
    async with Database(dsn) as root:
        for user in (users.serve, users.migrate):
            await execute(root, create.format(user=user, password=PASSWORD))
        try:
            sql = grants(parse_dsn(dsn), serve=users.serve, migrate=users.migrate)
            await execute(root, *statements(sql.replace("%", "%%")))
            yield users
        finally:
            for user in (users.serve, users.migrate):
                await execute(root, *(each.format(user=user) for each in drop))


def statements(sql: str) -> Iterator[str]:
    lines = (line for line in sql.splitlines() if not line.startswith("--"))
    return (each.strip() for each in "\n".join(lines).split(";") if each.strip())


@pytest.fixture(params=["postgresql", "mariadb"])
async def users(request: pytest.FixtureRequest) -> AsyncIterator[Users]:
    if request.param == "postgresql":
        create, drop = "CREATE ROLE {user} LOGIN PASSWORD '{password}'", ("DROP OWNED BY {user}", "DROP ROLE {user}")
    else:
        create, drop = "CREATE USER '{user}'@'%%' IDENTIFIED BY '{password}'", ("DROP USER '{user}'@'%%'",)
    dsn = request.getfixturevalue({"postgresql": "postgres_dsn", "mariadb": "mariadb_dsn"}[request.param])
    async with granted(dsn, create, drop) as users:
        yield users


async def test_one_user_migrates_and_the_other_serves_and_may_not_change_tables(users: Users, folder: Folder) -> None:
    async with Database(users.dsn(users.migrate)) as db:
        assert await apply(db, folder) == ("0001_form",)
    async with Database(users.dsn(users.serve)) as db:
        report = await prepare_schema(db, migrations="check", folder=folder.path, auto_tables=True)
        assert report.unknown == ()
        await execute(
            db,
            "INSERT INTO form (title) VALUES ('one')",
            "UPDATE form SET title = 'two'",
        )
        assert await rows(db, "SELECT title FROM form") == [("two",)]
        await execute(db, "DELETE FROM form")
        for forbidden in ("CREATE TABLE mine (id INTEGER)", "DROP TABLE form", "ALTER TABLE form ADD COLUMN n INTEGER"):
            with pytest.raises((peewee.OperationalError, peewee.ProgrammingError), match=r"denied|must be owner"):
                await execute(db, forbidden)
    async with Database(users.dsn(users.migrate)) as db:
        await migrating.rollback_all(db, folder)


def test_names_are_quoted_and_wildcards_are_not_wild() -> None:
    sql = grants(parse_dsn("mysql://root@h/my_shop"), serve="o'brien@10.0.0.%", migrate="m")
    assert r"GRANT SELECT, INSERT, UPDATE, DELETE ON `my\_shop`.* TO 'o''brien'@'10.0.0.%';" in sql
    sql = grants(parse_dsn("postgresql://root@h/shop"), serve='a"b', migrate="m", schema="sales")
    assert 'GRANT USAGE ON SCHEMA "sales" TO "a""b";' in sql


def test_a_file_has_no_users() -> None:
    with pytest.raises(NoUsers) as refused:
        grants(parse_dsn("sqlite:///shop.db"), serve="a", migrate="b")
    assert told(refused.value) == (
        "The database shop.db has no users to grant anything to.\n"
        "  cause:  It is an SQLite file: who may read and write the file and its folder may do everything.\n"
        "  action: Give the file to the user that the app runs as, with `chmod 600`."
    )
