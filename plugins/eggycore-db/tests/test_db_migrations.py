"""Migrations: what is applied in which order, what is refused, and what the history says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from importlib import import_module
from pathlib import Path

import pytest

from eggycore_db import Database, PoolLimits, ServerLimits
from eggycore_db.migrations.applying import Order, Watch, rollback
from eggycore_db.migrations.errors import (
    MigrationEdited,
    MigrationFailed,
    MigrationNotReversible,
    MigrationsOutOfOrder,
    MigrationsPending,
    MigrationsShareNumber,
    MigrationUnknown,
    MigrationUnreadable,
    MigrationUnusable,
    PendingFirst,
)
from eggycore_db.migrations.files import create_file, read_folder
from eggycore_db.migrations.prepare import SchemaReport, prepare_schema
from eggycore_db.migrations.running import preview
from eggycore_db.migrations.state import read_migrations

migrating = import_module("plugins.eggycore-db.tests.migrating")
Folder, apply, columns, history, rows, tables, told = (
    getattr(migrating, name) for name in ("Folder", "apply", "columns", "history", "rows", "tables", "told")
)

pytestmark = pytest.mark.usefixtures("registered")  # the sample app's tests may have registered its tables here


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "migrations")


@pytest.fixture(params=["sqlite", "memory", "postgresql", "mariadb"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each kind."""
    dsn = {
        "sqlite": lambda: f"sqlite:///{tmp_path}/test.db",
        "memory": lambda: "sqlite:///:memory:",
        "postgresql": lambda: request.getfixturevalue("postgres_dsn"),
        "mariadb": lambda: request.getfixturevalue("mariadb_dsn"),
    }[request.param]()
    async with Database(dsn) as database:
        yield database


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path}/test.db") as database:
        yield database


def three(folder: Folder) -> None:
    folder.sql("form", "CREATE TABLE form (id INTEGER)", down=("DROP TABLE form",))
    folder.write(
        "title",
        'migrator.migrate(migrator.add_column("form", "title", CharField(default="none")))',
        'migrator.migrate(migrator.drop_column("form", "title"))',
    )
    folder.sql("rows", "INSERT INTO form (id, title) VALUES (1, 'one')", down=("DELETE FROM form",))


async def test_pending_migrations_are_applied_in_order_once_and_taken_back_in_reverse(
    db: Database, folder: Folder
) -> None:
    three(folder)
    assert await apply(db, folder, app_version="1.2") == ("0001_form", "0002_title", "0003_rows")
    assert await rows(db, "SELECT id, title FROM form") == [(1, "one")]
    assert await apply(db, folder) == ()
    records = await history(db)
    assert [(name, record.state, record.app_version) for name, record in records.items()] == [
        ("0001_form", "applied", "1.2"),
        ("0002_title", "applied", "1.2"),
        ("0003_rows", "applied", "1.2"),
    ]
    assert await rollback(db, Order(folder=folder.path, steps=2)) == ("0003_rows", "0002_title")
    assert await columns(db, "form") == ["id"]
    assert list(await history(db)) == ["0001_form"]
    assert await rollback(db, Order(folder=folder.path, steps=5)) == ("0001_form",)
    assert await tables(db) == []


async def test_a_target_ends_the_way_by_number_name_or_file(sqlite: Database, folder: Folder) -> None:
    three(folder)
    assert await apply(sqlite, folder, target="1") == ("0001_form",)
    assert await apply(sqlite, folder, target="0002_title.py") == ("0002_title",)
    assert await apply(sqlite, folder, target="0002_title") == ()
    with pytest.raises(MigrationUnknown) as unknown:
        await apply(sqlite, folder, target="0003_row")
    assert told(unknown.value) == (
        f"There is no migration '0003_row' in {folder.path}. Did you mean '0003_rows'?\n"
        "  action: Name one by its number or its file; `eggycore db status` lists them."
    )


async def test_who_watches_is_told_of_the_plan_and_of_each_step(sqlite: Database, folder: Folder) -> None:
    three(folder)
    said: list[object] = []
    watch = Watch(
        planned=lambda steps: said.append(len(steps)),
        done=lambda step, seconds: said.append((step.file.name, seconds > 0)),
    )
    await migrating.migrate(sqlite, Order(folder=folder.path), watch)
    assert said == [3, ("0001_form", True), ("0002_title", True), ("0003_rows", True)]


async def test_the_text_counts_and_not_its_line_endings(sqlite: Database, folder: Folder) -> None:
    three(folder)
    await apply(sqlite, folder)
    path = folder.path / "0001_form.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert await apply(sqlite, folder) == ()


async def test_an_edited_migration_is_refused_until_it_is_accepted(sqlite: Database, folder: Folder) -> None:
    three(folder)
    await apply(sqlite, folder)
    path = folder.path / "0002_title.py"
    path.write_text(f"{path.read_text()}# a word\n")
    with pytest.raises(MigrationEdited) as edited:
        await apply(sqlite, folder)
    assert edited.value.at == (await history(sqlite))["0002_title"].at
    edited.value.at = datetime(2026, 1, 2, 3, 4, 5)
    recorded, found = edited.value.recorded[:12], edited.value.found[:12]
    assert recorded != found
    assert told(edited.value) == (
        f"The migration {path} was edited after it was applied.\n"
        f"  cause:  The text applied on 2026-01-02 03:04:05 UTC has the checksum {recorded}, the file now {found};"
        " other databases would get other tables.\n"
        "  action: Bring the old text back and put the change into a new migration, or, when the edit changes nothing"
        " in the tables, run `eggycore db migrate --accept-edited`."
    )
    assert await apply(sqlite, folder, accept_edited=True) == ()
    assert await apply(sqlite, folder) == ()


async def test_a_migration_that_came_late_is_refused_unless_order_does_not_matter(
    sqlite: Database, folder: Folder
) -> None:
    three(folder)
    (folder.path / "0002_title.py").rename(folder.path / "title")
    (folder.path / "0003_rows.py").write_text("def up(migrator, db):\n    pass\n")
    await apply(sqlite, folder)
    (folder.path / "title").rename(folder.path / "0002_title.py")
    with pytest.raises(MigrationsOutOfOrder) as late:
        await apply(sqlite, folder, database="orders")
    assert told(late.value) == (
        "The migration 0002_title is pending and older than 0003_rows, which was applied.\n"
        "  cause:  It came late, from a branch for example, and may not fit what was done since.\n"
        "  action: Give it a number above 0003_rows, or run `eggycore db migrate --out-of-order --database orders` when"
        " the order does not matter."
    )
    assert await apply(sqlite, folder, out_of_order=True) == ("0002_title",)


def test_several_that_came_late_are_named_together() -> None:
    assert told(MigrationsOutOfOrder(("0001_a", "0002_b", "0003_c"), "0004_d")) == (
        "The migrations 0001_a, 0002_b and 0003_c are pending and older than 0004_d, which was applied.\n"
        "  cause:  They came late, from a branch for example, and may not fit what was done since.\n"
        "  action: Give them numbers above 0004_d, or run `eggycore db migrate --out-of-order` when the order does not"
        " matter."
    )


async def test_what_a_newer_version_has_applied_is_unknown_and_no_obstacle(sqlite: Database, folder: Folder) -> None:
    three(folder)
    await apply(sqlite, folder)
    (folder.path / "0003_rows.py").unlink()
    assert await apply(sqlite, folder) == ()
    report = await prepare_schema(sqlite, migrations="check", folder=folder.path, auto_tables=False)
    assert report == SchemaReport(unknown=("0003_rows",))
    migrations = await sqlite.run(read_migrations, sqlite.peewee, folder.path)
    assert [entry.state for entry in migrations.entries()] == ["applied", "applied", "unknown"]


async def test_two_migrations_of_one_number_are_refused(sqlite: Database, folder: Folder) -> None:
    three(folder)
    (folder.path / "0002_other.py").write_text("def up(migrator, db):\n    pass\n")
    with pytest.raises(MigrationsShareNumber) as shared:
        await apply(sqlite, folder)
    assert told(shared.value) == (
        f"Two migrations in {folder.path} have the same number: 0002_other and 0002_title.\n"
        "  cause:  The number says in which order they are applied.\n"
        "  action: Give the one that was applied nowhere yet the next free number."
    )


async def test_a_file_that_does_not_run_is_told_before_any_is_applied(sqlite: Database, folder: Folder) -> None:
    three(folder)
    path = folder.path / "0003_rows.py"
    path.write_text("def up(migrator, db)\n    pass\n")
    with pytest.raises(MigrationUnusable) as unusable:
        await apply(sqlite, folder)
    assert told(unusable.value) == (
        f"The migration {path} cannot be used.\n"
        f"  cause:  SyntaxError: expected ':', at {path}, line 1.\n"
        "  action: Correct the file; `eggycore db create NAME` writes one that works, to compare with."
    )
    path.write_text("import peewee\n")
    with pytest.raises(MigrationUnusable) as unusable:
        await apply(sqlite, folder)
    assert told(unusable.value) == (
        f"The migration {path} cannot be used.\n"
        "  cause:  It defines no function up(migrator, db).\n"
        "  action: Correct the file; `eggycore db create NAME` writes one that works, to compare with."
    )
    assert await tables(sqlite) == []


def test_a_file_that_is_no_text_is_told(folder: Folder) -> None:
    folder.path.mkdir()
    path = folder.path / "0001_bytes.py"
    path.write_bytes(b"\xff")
    with pytest.raises(MigrationUnreadable) as unreadable:
        read_folder(folder.path)
    assert told(unreadable.value) == (
        f"The migration {path} cannot be read.\n"
        "  cause:  'utf-8' codec can't decode byte 0xff in position 0: invalid start byte.\n"
        "  action: Make it a UTF-8 text file that this process may read."
    )


async def test_what_has_no_way_back_is_refused_before_anything_is_taken_back(sqlite: Database, folder: Folder) -> None:
    folder.sql("one", "CREATE TABLE one (id INTEGER)")
    folder.sql("two", "CREATE TABLE two (id INTEGER)", down=("DROP TABLE two",))
    await apply(sqlite, folder)
    with pytest.raises(MigrationNotReversible) as refused:
        await rollback(sqlite, Order(folder=folder.path, steps=2))
    assert told(refused.value) == (
        "The migration 0001_one cannot be taken back.\n"
        "  cause:  It defines no function down(migrator, db).\n"
        "  action: Take it back with a new migration."
    )
    assert await tables(sqlite) == ["one", "two"]
    (folder.path / "0002_two.py").unlink()
    with pytest.raises(MigrationNotReversible) as refused:
        await rollback(sqlite, Order(folder=folder.path))
    assert told(refused.value) == (
        "The migration 0002_two cannot be taken back.\n"
        f"  cause:  Its file is not in {folder.path}.\n"
        "  action: Bring its file back, or take it back with a new migration."
    )


async def test_a_dry_run_tells_the_statements_and_changes_nothing(db: Database, folder: Folder) -> None:
    three(folder)
    migrations = await db.run(read_migrations, db.peewee, folder.path)
    shown = await db.run(preview, db.peewee, migrations.to_apply())
    assert [step.name for step in shown] == ["0001_form", "0002_title", "0003_rows"][: len(shown)]
    assert shown[0].statements == ("CREATE TABLE form (id INTEGER)",)
    added = shown[1].statements[0]
    assert added.replace("`", '"') == 'ALTER TABLE "form" ADD COLUMN "title" VARCHAR(255)'
    if db.kind == "mysql":  # nothing was run, so that the column is not there to be looked at
        assert "doesn't exist" in shown[1].problem
    else:
        assert shown[2].statements == ("INSERT INTO form (id, title) VALUES (1, 'one')",)
        assert not any(step.problem for step in shown)
    assert await tables(db) == []
    assert await history(db) == {}
    assert await apply(db, folder) == ("0001_form", "0002_title", "0003_rows")


@pytest.mark.parametrize("db", ["postgresql"], indirect=True)
async def test_a_migration_that_is_not_atomic_is_run_outside_a_transaction(db: Database, folder: Folder) -> None:
    folder.sql("form", "CREATE TABLE form (id INTEGER)")
    folder.sql("index", "CREATE INDEX CONCURRENTLY form_id ON form (id)", head="atomic = False")
    migrations = await db.run(read_migrations, db.peewee, folder.path)
    shown = await db.run(preview, db.peewee, migrations.to_apply())
    assert shown[1].statements == ("CREATE INDEX CONCURRENTLY form_id ON form (id)",)
    assert await apply(db, folder) == ("0001_form", "0002_index")
    assert [index.name for index in await db.run(db.peewee.get_indexes, "form")] == ["form_id"]


async def test_models_of_the_app_may_be_used_in_a_migration(db: Database, folder: Folder) -> None:
    folder.sql("form", "CREATE TABLE note (id INTEGER PRIMARY KEY, line VARCHAR(20))")
    folder.write("rows", 'Note.insert(id=1, line="said").execute()', head=NOTE)
    await apply(db, folder)
    assert await rows(db, "SELECT id, line FROM note") == [(1, "said")]


NOTE = """
from eggycore_db import Model as Current
class Note(Current):
    line = CharField()
"""


async def test_check_refuses_to_start_until_somebody_has_migrated(sqlite: Database, folder: Folder) -> None:
    three(folder)
    with pytest.raises(MigrationsPending) as pending:
        await prepare_schema(sqlite, migrations="check", folder=folder.path, auto_tables=True)
    assert told(pending.value) == (
        f"The database {sqlite.location} lacks the migrations 0001_form, 0002_title and 0003_rows.\n"
        "  cause:  DATABASE_MIGRATIONS is check, so that this process waits for somebody else to apply 0001_form,"
        " 0002_title and 0003_rows.\n"
        "  action: Run `eggycore db migrate` in a job before the new version starts, or set DATABASE_MIGRATIONS=auto."
    )
    assert await tables(sqlite) == []
    await apply(sqlite, folder)
    report = await prepare_schema(sqlite, migrations="check", folder=folder.path, auto_tables=True)
    assert report == SchemaReport()


def test_who_waits_is_told_of_a_migration_that_was_begun() -> None:
    assert told(MigrationsPending(("0002_b",), "0001_a", "db.example", "orders")) == (
        "The database db.example lacks the migration 0002_b.\n"
        "  cause:  DATABASE_MIGRATIONS is check, so that this process waits for somebody else to apply 0002_b; 0001_a"
        " was begun and has not come to its end.\n"
        "  action: Run `eggycore db migrate --database orders` in a job before the new version starts, or set"
        " DATABASE_MIGRATIONS=auto."
    )
    assert told(MigrationsPending((), "0001_a", "db.example")).splitlines()[0] == (
        "The migration 0001_a was begun and has not come to its end."
    )


async def test_auto_applies_and_off_does_not_look(db: Database, folder: Folder) -> None:
    three(folder)
    off = await prepare_schema(db, migrations="off", folder=folder.path, auto_tables=False)
    assert off == SchemaReport()
    report = await prepare_schema(db, migrations="auto", folder=folder.path, auto_tables=False, app_version="3")
    assert report.applied == ("0001_form", "0002_title", "0003_rows")
    assert str(report) == "0 tables, 3 migrations applied"
    again = await prepare_schema(db, migrations="auto", folder=folder.path, auto_tables=False)
    assert again.applied == ()


async def test_an_app_without_a_folder_has_no_migrations(sqlite: Database, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert await prepare_schema(sqlite, migrations="check", folder=nowhere, auto_tables=False) == SchemaReport()
    assert not nowhere.exists()


def test_a_new_migration_has_the_next_number_and_works(folder: Folder) -> None:
    assert create_file(folder.path, "Add karma: to users!").name == "0001_add_karma_to_users.py"
    path = create_file(folder.path, 'say "hello"')
    assert path.name == "0002_say_hello.py"
    assert path.read_text().startswith('"""say \'hello\'"""\n')
    (folder.path / "0010_x.py").write_text("def up(migrator, db):\n    pass\n")
    assert create_file(folder.path, "?").name == "0011_migration.py"
    assert [file.load().atomic for file in read_folder(folder.path)] == [True] * 4


def test_generating_waits_for_what_is_pending() -> None:
    assert told(PendingFirst(("0001_a",), "orders")) == (
        "The migration 0001_a is pending, so that nothing is generated.\n"
        "  cause:  What is pending would be generated once more.\n"
        "  action: Apply what is pending first, with `eggycore db migrate --database orders`."
    )


async def test_sqlite_keeps_child_rows_when_a_migration_rebuilds_their_parent(sqlite: Database, folder: Folder) -> None:
    folder.sql(
        "tables",
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id) ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1, 'a')",
        "INSERT INTO child VALUES (1, 1)",
    )
    folder.write("strict", 'migrator.migrate(migrator.add_not_null("parent", "name"))')
    await apply(sqlite, folder)
    assert await rows(sqlite, "SELECT id, parent FROM child") == [(1, 1)]
    assert await rows(sqlite, "PRAGMA foreign_keys") == [(1,)]


@pytest.mark.parametrize(
    ("fixture", "wait"), [("postgres_dsn", "SELECT pg_sleep(1.5)"), ("mariadb_dsn", "DO SLEEP(1.5)")]
)
async def test_a_migration_may_take_longer_than_the_queries_of_the_app(
    request: pytest.FixtureRequest, folder: Folder, fixture: str, wait: str
) -> None:
    folder.sql("wait", wait)
    dsn = request.getfixturevalue(fixture)
    limits = PoolLimits(max_open=1, query_timeout=0.5), ServerLimits(statement=0.3, query=0.5)
    async with Database(dsn, pool=limits[0], server=limits[1]) as db:
        report = await prepare_schema(db, migrations="auto", folder=folder.path, auto_tables=False)
        assert report.applied == ("0001_wait",)
        assert (await history(db))["0001_wait"].seconds > 1.4


def test_a_failure_that_is_not_of_a_statement_names_the_line() -> None:
    failed = MigrationFailed(Path("m/0002_b.py"), "up", "ValueError: no", ("0001_a",), place="m/0002_b.py, line 3")
    assert told(failed) == (
        "The migration 0002_b failed, at m/0002_b.py, line 3; 0001_a was applied before it and stays so.\n"
        "  cause:  ValueError: no.\n"
        "  action: Nothing of it stays: correct m/0002_b.py and run `eggycore db migrate` again."
    )
