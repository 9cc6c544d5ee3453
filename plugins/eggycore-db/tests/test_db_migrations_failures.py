"""Migrations that fail half way: what stays, what is said, and how the way goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore_db import Database
from eggycore_db.migrations.applying import Order, rollback
from eggycore_db.migrations.errors import MigrationFailed, MigrationUnfinished, ResumeImpossible
from eggycore_db.migrations.history import Progress
from eggycore_db.migrations.statements import LOG_LINES, Tracker, intercepted

migrating = import_module("plugins.eggycore-db.tests.migrating")
Folder, apply, columns, execute, history, rows, tables, told = (
    getattr(migrating, name) for name in ("Folder", "apply", "columns", "execute", "history", "rows", "tables", "told")
)

FORM = "CREATE TABLE form (id INTEGER)"
NOTE = "CREATE TABLE note (id INTEGER)"
ROW = "INSERT INTO form (id) VALUES (1)"
LIST = "CREATE TABLE list (id INTEGER)"
BROKEN = "CREATE TABLE note (id INTEGER, twice INTEGER)"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "migrations")


@pytest.fixture
async def mariadb(mariadb_dsn: str) -> AsyncIterator[Database]:
    async with Database(mariadb_dsn) as database:
        yield database


@pytest.fixture
async def postgres(postgres_dsn: str) -> AsyncIterator[Database]:
    async with Database(postgres_dsn) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
async def transactional(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    sqlite = request.param == "sqlite"
    dsn = f"sqlite:///{tmp_path}/test.db" if sqlite else request.getfixturevalue("postgres_dsn")
    async with Database(dsn) as database:
        yield database


async def test_where_it_can_be_rolled_back_nothing_of_a_failed_one_stays(
    transactional: Database, folder: Folder
) -> None:
    folder.sql("first", FORM)
    path = folder.sql("second", NOTE, ROW, BROKEN, LIST)
    with pytest.raises(MigrationFailed) as failed:
        await apply(transactional, folder)
    assert told(failed.value) == (
        "The migration 0002_second failed at its statement 3; 0001_first was applied before it and stays so.\n"
        f"  cause:  {failed.value.detail}.\n"
        "    CREATE TABLE note (id INTEGER, twice INTEGER)\n"
        f"  action: Nothing of it stays: correct {path} and run `eggycore db migrate` again."
    )
    assert "already exists" in failed.value.detail
    assert await tables(transactional) == ["form"]
    assert await rows(transactional, "SELECT * FROM form") == []
    assert list(await history(transactional)) == ["0001_first"]
    folder.rewrite(path, NOTE, ROW, LIST)
    assert await apply(transactional, folder) == ("0002_second",)


async def test_where_it_cannot_the_statements_that_stay_are_told_and_skipped_when_it_is_resumed(
    mariadb: Database, folder: Folder
) -> None:
    folder.sql("first", FORM)
    path = folder.sql("second", NOTE, ROW, BROKEN, LIST)
    with pytest.raises(MigrationFailed) as failed:
        await apply(mariadb, folder)
    assert told(failed.value) == (
        "The migration 0002_second failed at its statement 3; 0001_first was applied before it and stays so.\n"
        "  cause:  OperationalError: (1050, \"Table 'note' already exists\").\n"
        "    CREATE TABLE note (id INTEGER, twice INTEGER)\n"
        f"  action: Correct {path} from statement 3 on and run `eggycore db migrate --resume`; or revert by hand what"
        " stays and run `eggycore db migrate --retry`. What stays, because it cannot be rolled back:\n"
        "    1. CREATE TABLE note (id INTEGER)\n"
        "    2. INSERT INTO form (id) VALUES (1)"
    )
    assert await tables(mariadb) == ["form", "note"]

    folder.rewrite(path, NOTE, ROW, LIST)
    with pytest.raises(MigrationUnfinished) as unfinished:
        await apply(mariadb, folder)
    unfinished.value.at = datetime(2026, 1, 2, 3, 4, 5)
    assert told(unfinished.value) == (
        "The migration 0002_second was begun on 2026-01-02 03:04:05 UTC and did not come to its end.\n"
        "  cause:  2 statements of it were carried out and stay:\n"
        "    1. CREATE TABLE note (id INTEGER)\n"
        "    2. INSERT INTO form (id) VALUES (1)\n"
        "  action: Correct the file from the next statement on, if that failed, and run `eggycore db migrate --resume`;"
        " or revert by hand what stays and run `eggycore db migrate --retry`, which begins it anew."
    )
    assert await apply(mariadb, folder, unfinished="resume") == ("0002_second",)
    assert await tables(mariadb) == ["form", "list", "note"]
    assert await rows(mariadb, "SELECT id FROM form") == [(1,)]
    assert (await history(mariadb))["0002_second"].progress == Progress()
    assert await apply(mariadb, folder) == ()


async def test_what_was_reverted_by_hand_is_begun_anew(mariadb: Database, folder: Folder) -> None:
    path = folder.sql("first", NOTE, BROKEN)
    with pytest.raises(MigrationFailed):
        await apply(mariadb, folder)
    folder.rewrite(path, NOTE, LIST)
    await execute(mariadb, "DROP TABLE note")
    assert await apply(mariadb, folder, unfinished="retry") == ("0001_first",)
    assert await tables(mariadb) == ["list", "note"]


async def test_one_of_which_nothing_stays_needs_no_resuming(mariadb: Database, folder: Folder) -> None:
    path = folder.sql("first", "CREATE TABEL form (id INTEGER)")
    with pytest.raises(MigrationFailed) as failed:
        await apply(mariadb, folder)
    assert failed.value.stays is None
    assert await history(mariadb) == {}
    folder.rewrite(path, FORM)
    assert await apply(mariadb, folder) == ("0001_first",)


async def test_statements_that_were_carried_out_may_not_be_changed(mariadb: Database, folder: Folder) -> None:
    path = folder.sql("first", NOTE, FORM, BROKEN)
    with pytest.raises(MigrationFailed):
        await apply(mariadb, folder)
    folder.rewrite(path, LIST, FORM)
    for _ in range(2):
        with pytest.raises(ResumeImpossible) as impossible:
            await apply(mariadb, folder, unfinished="resume")
        assert told(impossible.value) == (
            "The migration 0001_first cannot be resumed: its statements are no longer those that were carried out.\n"
            "  cause:  To be skipped are, in the text that they had:\n"
            "    1. CREATE TABLE note (id INTEGER)\n"
            "    2. CREATE TABLE form (id INTEGER)\n"
            "  action: Bring their text back as it was, or finish the migration by hand: revert what stays and begin it"
            " anew with --retry."
        )
    folder.rewrite(path, NOTE)
    with pytest.raises(ResumeImpossible):
        await apply(mariadb, folder, unfinished="resume")
    assert await tables(mariadb) == ["form", "note"]


async def test_a_default_that_is_made_anew_does_not_keep_it_from_being_resumed(
    mariadb: Database, folder: Folder
) -> None:
    path = folder.write("first", f"db.execute_sql({FORM!r})\n{ADD_TIME}\ndb.execute_sql('nonsense')", head=TIME)
    with pytest.raises(MigrationFailed) as failed:
        await apply(mariadb, folder)
    assert failed.value.stays == 4
    path.write_text(path.read_text().replace("db.execute_sql('nonsense')", f"db.execute_sql({NOTE!r})"))
    assert await apply(mariadb, folder, unfinished="resume") == ("0001_first",)
    assert await columns(mariadb, "form") == ["id", "at"]


TIME = "import datetime"
ADD_TIME = 'migrator.migrate(migrator.add_column("form", "at", DateTimeField(default=datetime.datetime.now)))'


async def test_a_rollback_that_fails_half_way_is_resumed_too(mariadb: Database, folder: Folder) -> None:
    path = folder.sql("first", FORM, NOTE, down=("DROP TABLE note", "DROP TABLE nothing", "DROP TABLE form"))
    await apply(mariadb, folder)
    with pytest.raises(MigrationFailed) as failed:
        await rollback(mariadb, Order(folder=folder.path))
    assert told(failed.value) == (
        "The migration 0001_first failed at its statement 2.\n"
        f"  cause:  {failed.value.detail}.\n"
        "    DROP TABLE nothing\n"
        f"  action: Correct {path} from statement 2 on and run `eggycore db rollback --resume`; or revert by hand what"
        " stays and run `eggycore db rollback --retry`. What stays, because it cannot be rolled back:\n"
        "    1. DROP TABLE note"
    )
    with pytest.raises(MigrationUnfinished) as unfinished:
        await apply(mariadb, folder, unfinished="resume")
    assert "was being taken back" in told(unfinished.value)
    path.write_text(path.read_text().replace("DROP TABLE nothing", "DROP TABLE IF EXISTS nothing"))
    assert await rollback(mariadb, Order(folder=folder.path, unfinished="resume")) == ("0001_first",)
    assert await tables(mariadb) == []
    assert await history(mariadb) == {}


async def test_a_process_killed_in_the_middle_is_taken_up_where_it_was(
    mariadb: Database, mariadb_dsn: str, folder: Folder
) -> None:
    await execute(mariadb, "CREATE TABLE old (id INTEGER)")
    change = "ALTER TABLE old ADD COLUMN n INTEGER"
    folder.sql("first", FORM, ROW, change, NOTE)
    migrator = migrating.Migrator(mariadb_dsn, folder)
    try:
        migrator.ready()
        async with mariadb.session() as other:
            await other.run(mariadb.peewee.begin)
            await other.run(mariadb.peewee.execute_sql, "SELECT * FROM old")  # nobody may change this table now
            migrator.go()
            await until(
                lambda: history(mariadb), lambda found: found and found["0001_first"].progress.running == change
            )
            await until(lambda: rows(mariadb, WAITING), lambda found: found)
            migrator.end()
            await other.run(mariadb.peewee.rollback)  # the server ends the statement whose client is gone
        with pytest.raises(MigrationUnfinished) as unfinished:
            await apply(mariadb, folder)
    finally:
        migrator.end()
    assert told(unfinished.value).splitlines()[1:5] == [
        "  cause:  2 statements of it were carried out and stay:",
        f"    1. {FORM}",
        f"    2. {ROW}",
        f"    Whether the next one was too is not known: {change}.",
    ]
    assert await columns(mariadb, "old") == ["id", "n"]
    assert await apply(mariadb, folder, unfinished="resume") == ("0001_first",)
    assert await rows(mariadb, "SELECT id FROM form") == [(1,)]
    assert await tables(mariadb) == ["form", "note", "old"]


WAITING = (
    "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND state = 'Waiting for table metadata lock'"
)


async def until(ask: Callable[[], Any], enough: Callable[[Any], Any]) -> None:
    """Ask again and again, each a round trip, until the answer is enough."""
    async with asyncio.timeout(30):
        while not enough(await ask()):
            pass


@pytest.mark.parametrize("statement", [NOTE, "ALTER TABLE form ADD COLUMN n INTEGER", "CREATE INDEX i ON form (id)"])
async def test_a_change_that_was_done_but_not_noted_is_not_an_error(
    mariadb: Database, folder: Folder, statement: str
) -> None:
    await left_in_the_middle(mariadb, folder, statement)
    assert await apply(mariadb, folder, unfinished="resume") == ("0001_first",)
    assert await tables(mariadb) == sorted({"form", "list", *(["note"] if statement == NOTE else [])})


async def test_a_change_outside_a_transaction_of_postgresql_that_was_not_noted_is_not_an_error(
    postgres: Database, folder: Folder
) -> None:
    await left_in_the_middle(postgres, folder, NOTE, head="atomic = False")
    assert await apply(postgres, folder, unfinished="resume") == ("0001_first",)
    assert await tables(postgres) == ["form", "list", "note"]


async def test_an_index_made_concurrently_that_may_be_invalid_is_an_error(postgres: Database, folder: Folder) -> None:
    await left_in_the_middle(postgres, folder, "CREATE INDEX CONCURRENTLY i ON form (id)", head="atomic = False")
    with pytest.raises(MigrationFailed) as failed:
        await apply(postgres, folder, unfinished="resume")
    assert failed.value.detail == 'ProgrammingError: relation "i" already exists'
    await execute(postgres, "DROP INDEX i")
    assert await apply(postgres, folder, unfinished="resume") == ("0001_first",)


async def left_in_the_middle(db: Database, folder: Folder, statement: str, head: str = "") -> None:
    """As if the process had ended between the statement and the note that it was done."""
    path = folder.sql("first", FORM, statement, "nonsense", head=head)
    with pytest.raises(MigrationFailed):
        await apply(db, folder)
    (record,) = (await history(db)).values()
    tracker = Tracker(db.peewee, "x", Progress(), lambda progress: None)
    with_digest = await db.run(_digest_of_first, db.peewee, tracker)
    await execute(
        db,
        f"UPDATE eggycore_migrations SET statements = 1, digest = '{with_digest}', log = '{FORM}',"
        f" running = '{statement}'",
    )
    assert record.progress.done == 2
    folder.rewrite(path, FORM, statement, LIST, head=head)


def _digest_of_first(db: peewee.Database, tracker: Tracker) -> str:
    tracker(FORM, None, lambda sql, params: None)
    return tracker.progress.digest


async def test_rows_and_their_note_are_committed_together(mariadb: Database, folder: Folder) -> None:
    folder.sql("table", FORM)
    await apply(mariadb, folder)
    folder.write("rows", "with db.atomic():\n    db.execute_sql('INSERT INTO form VALUES (1)')\n    1 / 0")
    with pytest.raises(MigrationFailed) as failed:
        await apply(mariadb, folder)
    assert failed.value.stays is None
    assert failed.value.detail == "ZeroDivisionError: division by zero"
    assert failed.value.place == f"{folder.path}/0002_rows.py, line 6"
    assert await rows(mariadb, "SELECT * FROM form") == []
    assert list(await history(mariadb)) == ["0001_table"]


async def test_a_line_of_the_history_is_replaced_or_stays(mariadb: Database, folder: Folder) -> None:
    folder.sql("first", NOTE, BROKEN)
    with pytest.raises(MigrationFailed):
        await apply(mariadb, folder)
    await execute(
        mariadb,
        "CREATE TRIGGER forbid BEFORE INSERT ON eggycore_migrations FOR EACH ROW SIGNAL SQLSTATE '45000'",
    )
    with pytest.raises(peewee.OperationalError):
        await apply(mariadb, folder, unfinished="resume")
    assert (await history(mariadb))["0001_first"].progress.done == 1


def test_a_row_whose_note_cannot_be_written_is_not_written_either() -> None:
    def fail(progress: Progress) -> None:
        raise peewee.OperationalError("the connection is gone")

    db = peewee.SqliteDatabase(":memory:")
    with db.connection_context():
        db.execute_sql(FORM)
        with intercepted(db, Tracker(db, "m", Progress(), fail)), pytest.raises(peewee.OperationalError):
            db.execute_sql(ROW)
        assert db.execute_sql("SELECT * FROM form").fetchall() == []


async def test_a_long_migration_shows_its_first_statements(mariadb: Database, folder: Folder) -> None:
    folder.sql("table", FORM)
    await apply(mariadb, folder)
    folder.sql("rows", *(f"INSERT INTO form VALUES ({number})" for number in range(LOG_LINES + 7)), "nonsense")
    with pytest.raises(MigrationFailed) as failed:
        await apply(mariadb, folder)
    lines = told(failed.value).splitlines()
    assert lines[-2:] == ["    50. INSERT INTO form VALUES (49)", "    and 7 more"]
    assert failed.value.stays == LOG_LINES + 7


STATEMENTS = st.lists(
    st.sampled_from(["INSERT INTO t VALUES (?)", "UPDATE t SET n = ?", "DELETE FROM t WHERE n > ?", "SELECT ?"]),
    max_size=12,
)


@given(statements=STATEMENTS, data=st.data())
def test_however_often_it_is_interrupted_each_statement_is_run_once(statements: list[str], data: st.DataObject) -> None:
    db = peewee.SqliteDatabase(":memory:")
    db.connect()
    db.execute_sql("CREATE TABLE t (n INTEGER)")
    ran: list[tuple[str, int]] = []
    noted = Progress()

    def save(progress: Progress) -> None:
        nonlocal noted
        noted = progress

    def attempt(end: int) -> None:
        tracker = Tracker(db, "m", noted, save)

        def watched(sql: str, params: Any, execute: Any) -> Any:
            def note(sql: str, params: Any) -> Any:
                ran.append((sql, params[0]))
                return execute(sql, params)

            return tracker(sql, params, note)

        with intercepted(db, watched):
            for number, statement in enumerate(statements[:end]):
                db.execute_sql(statement, (number,))

    ends = sorted(data.draw(st.lists(st.integers(0, len(statements)), max_size=4)))
    for end in [*ends, len(statements)]:
        attempt(end)
    assert ran == [(sql, number) for number, sql in enumerate(statements) if not sql.startswith("SELECT")]
    assert noted.done == len(ran)
    db.close()
