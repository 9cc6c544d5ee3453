"""`eggycore db`, as a person uses it: what it says, what it does, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eggycore.cli import eggycore
from eggycore.diagnostics import diagnose, render
from eggycore.runtime import Runtime
from eggycore_db.lock import Holder
from eggycore_db.migrations import commands, reports
from eggycore_db.migrations.commands import NoSuchDatabase
from eggycore_db.repository import REGISTERED

Run = Callable[..., Result]

APP = """
import peewee
from eggycore import hookimpl
from eggycore_db import Model, Repository, register_repository


class Customer(Model):
    name = peewee.CharField(index=True)


class Order(Model):
    customer = peewee.ForeignKeyField(Customer)

    class Meta:
        table_name = "orders"


@register_repository
class Customers(Repository):
    model = Customer


@register_repository(database="shop")
class Orders(Repository):
    model = Order


@hookimpl
def register_services(runtime):
    return []
"""

CREATE = 'from peewee import *\ndef up(migrator, db):\n    db.execute_sql("CREATE TABLE {0} (id INTEGER)")\n'
DROP = 'def down(migrator, db):\n    db.execute_sql("DROP TABLE {0}")\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an app, which is the current one."""
    (tmp_path / "eggyapp_shop.py").write_text(APP)
    (tmp_path / "pyproject.toml").write_text('[tool.eggycore]\napp = "eggyapp_shop"\nplugins = ["db"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setenv("DATABASE_DSN", "sqlite:///shop.db")
    before, registered = sys.modules.copy(), dict(REGISTERED._owners)
    REGISTERED._owners.clear()
    yield tmp_path
    REGISTERED._owners.clear()
    REGISTERED._owners.update(registered)
    for name in sys.modules.keys() - before.keys():
        if name.startswith("eggyapp_"):
            del sys.modules[name]


@pytest.fixture
def run(folder: Path) -> Run:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(eggycore, ["db", *arguments], prog_name="eggycore")

    return run


@pytest.fixture
def migrations(folder: Path) -> Path:
    """Two migrations that make the tables a and b."""
    (folder / "migrations").mkdir()
    for number, name in enumerate("ab", 1):
        (folder / "migrations" / f"000{number}_{name}.py").write_text((CREATE + DROP).format(name))
    return folder / "migrations"


def said(result: Result, code: int = 0) -> str:
    assert result.exit_code == code, result.output
    return result.output


def test_help_imports_neither_peewee_nor_a_driver() -> None:
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom eggycore.cli import eggycore\n"
        "assert CliRunner().invoke(eggycore, ['db', '--help']).exit_code == 0\n"
        "assert CliRunner().invoke(eggycore, ['db', 'migrate', '--help']).exit_code == 0\n"
        "print([name for name in ('peewee', 'psycopg2', 'pymysql') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


def test_an_app_without_migrations_is_told_how_to_begin(run: Run) -> None:
    assert said(run("status")) == (
        "There are no migrations in migrations. Write the first with `eggycore db create NAME`, or let"
        " `eggycore db generate NAME` write it from your models.\n"
    )


def test_the_way_from_models_to_tables(run: Run, folder: Path) -> None:
    assert said(run("diff")) == "table customer is missing\n"
    assert said(run("check"), 1) == "table customer is missing\nThe database shop.db is not up to date: 1 problem.\n"
    assert said(run("generate", "first tables")) == (
        "Written: migrations/0001_first_tables.py\n"
        "  create table customer\n"
        "Read it, then apply it with `eggycore db migrate`.\n"
    )
    assert said(run("generate", "more"), 2) == (
        "eggycore: The migration 0001_first_tables is pending, so that nothing is generated.\n"
        "  cause:  What is pending would be generated once more.\n"
        "  action: Apply what is pending first, with `eggycore db migrate`.\n"
    )
    assert said(run("check"), 1) == (
        "0001_first_tables is pending\nThe database shop.db is not up to date: 1 problem.\n"
    )
    assert said(run("migrate")).startswith("Applied: 0001_first_tables (")
    assert said(run("check")) == "The database shop.db is up to date.\n"
    assert said(run("diff")) == "The tables of shop.db are as the models say.\n"
    assert said(run("generate", "more")) == (
        "Nothing to generate: the tables of shop.db have all that the models have.\n"
        "An app that was started on this database has added what was missing; set DATABASE_AUTO_TABLES=false where"
        " migrations are to do that.\n"
    )


def test_a_column_to_be_dropped_asks_to_be_read(run: Run, folder: Path) -> None:
    said(run("generate", "first"))
    path = folder / "migrations" / "0001_first.py"
    path.write_text(path.read_text().replace("name = CharField(index=True)", "old = CharField()"))
    said(run("migrate"))
    assert said(run("diff")) == (
        "customer.name is missing and cannot be added: it may not be null, and has no default that could be written in"
        " SQL\n"
        "customer.old is in the database and not in the model\n"
    )
    assert said(run("generate", "rename")) == (
        "Written: migrations/0002_rename.py\n"
        "  add column customer.name\n"
        "  drop column customer.old\n"
        "  add index customer (name)\n"
        "Read it, above all the lines with TODO, then apply it with `eggycore db migrate`.\n"
    )


def test_status_lists_what_was_applied_and_what_is_pending(run: Run, migrations: Path) -> None:
    said(run("migrate", "1"))
    lines = said(run("status")).splitlines()
    assert lines[0].split("  ")[0] == "MIGRATION"
    assert lines[1].split()[:2] == ["0001_a", "applied"]
    assert lines[2].split() == ["0002_b", "pending"]
    assert lines[3:] == ["", "shop.db: 1 applied, 1 pending.", "Apply what is pending with `eggycore db migrate`."]
    first, second = json.loads(said(run("status", "--json")))
    assert (first["name"], first["state"], first["at"][-1]) == ("0001_a", "applied", "Z")
    assert second == {"name": "0002_b", "state": "pending", "at": None, "seconds": 0.0, "app_version": ""}
    (migrations / "0001_a.py").unlink()
    assert "Unknown ones were applied, and have no file here: by a newer version, or one was removed." in said(
        run("status")
    )


def test_migrating_and_taking_back_say_what_they_did(run: Run, migrations: Path) -> None:
    lines = said(run("migrate")).splitlines()
    assert [line.split(" (")[0] for line in lines] == ["Applied: 0001_a", "Applied: 0002_b"]
    assert said(run("migrate")) == "Nothing to apply: the database shop.db has every migration in migrations.\n"
    lines = said(run("rollback", "--steps", "9")).splitlines()
    assert [line.split(" (")[0] for line in lines] == ["Taken back: 0002_b", "Taken back: 0001_a"]
    assert said(run("rollback")) == "Nothing to take back: the database shop.db has had no migration.\n"


def test_a_dry_run_prints_sql_and_changes_nothing(run: Run, migrations: Path) -> None:
    assert said(run("migrate", "--dry-run")) == (
        "-- 0001_a\nCREATE TABLE a (id INTEGER);\n-- 0002_b\nCREATE TABLE b (id INTEGER);\n"
        "-- A dry run: nothing was changed in shop.db. Parameters are not shown.\n"
    )
    said(run("migrate"))
    assert said(run("rollback", "--dry-run")) == (
        "-- 0002_b\nDROP TABLE b;\n-- A dry run: nothing was changed in shop.db. Parameters are not shown.\n"
    )
    assert said(run("migrate", "--dry-run")).startswith("Nothing to apply")
    (migrations / "0003_broken.py").write_text("def up(migrator, db):\n    1 / 0\n")
    (migrations / "0004_empty.py").write_text("def up(migrator, db):\n    pass\n")
    assert said(run("migrate", "--dry-run")).splitlines()[:2] == [
        "-- 0003_broken",
        "-- It stops here: ZeroDivisionError: division by zero",
    ]


def test_an_edited_migration_fails_the_check_and_the_command(run: Run, migrations: Path) -> None:
    said(run("migrate"))
    with (migrations / "0001_a.py").open("a") as file:
        file.write("# edited\n")
    assert "0001_a is edited\n" in said(run("check"), 1)
    assert "was edited after it was applied." in said(run("migrate"), 1)
    assert said(run("status")).splitlines()[-1] == (
        "What to do about it says `eggycore db migrate`, which changes nothing until it is done."
    )
    assert said(run("migrate", "--accept-edited")).splitlines() == [
        "Taken as it is now: 0001_a.",
        "Nothing to apply: the database shop.db has every migration in migrations.",
    ]


def test_a_failure_exits_with_one_and_says_what_to_do(run: Run, migrations: Path) -> None:
    (migrations / "0002_b.py").write_text(CREATE.format("a"))
    output = said(run("migrate"), 1)
    lines = output.splitlines()
    assert lines[0].startswith("Applied: 0001_a (")
    assert lines[1:] == [
        "eggycore: The migration 0002_b failed at its statement 1; 0001_a was applied before it and stays so.",
        "  cause:  OperationalError: table a already exists.",
        "    CREATE TABLE a (id INTEGER)",
        f"  action: Nothing of it stays: correct {migrations}/0002_b.py and run `eggycore db migrate` again.",
    ]


def test_a_new_migration_is_written_beside_the_others(run: Run, migrations: Path) -> None:
    assert said(run("create", "add karma")) == "Written: migrations/0003_add_karma.py\n"
    said(run("migrate"))


def test_each_database_has_its_own_migrations_and_models(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASES", "shop")
    monkeypatch.setenv("DATABASE_SHOP_DSN", "sqlite:///orders.db")
    assert said(run("diff", "--database", "shop")) == "table orders is missing\n"
    assert said(run("create", "x", "--database", "shop")) == "Written: migrations/shop/0001_x.py\n"
    said(run("migrate", "--database", "shop"))
    assert (folder / "orders.db").exists()
    assert said(run("status", "--database", "shpo"), 2) == (
        "eggycore: There is no database 'shpo'. Did you mean 'shop'?\n"
        "  cause:  DATABASES names shop.\n"
        "  action: Name one of them, or leave --database out for the one of DATABASE_DSN.\n"
    )


def test_the_first_of_several_is_the_one_without_a_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_DSN")
    monkeypatch.setenv("DATABASES", "shop")
    assert said(run("diff")) == "table customer is missing\ntable orders is missing\n"
    assert said(run("diff", "--database", "default")) == said(run("diff"))


def test_who_is_waited_for_is_said(folder: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    place = commands.place(Runtime(), "default")
    progress = reports.Progress("up", place)
    moment = datetime(2026, 1, 2, 3, 4, 5)
    progress.watch.waiting(Holder(host="web-1", pid=7, since=moment, beat=datetime(2999, 1, 1)), 0.2)
    progress.watch.waiting(None, 10.4)
    assert capsys.readouterr().err == (
        "Waiting for process 7 on web-1 since 03:04:05 UTC, last heard of 0 s ago, which changes the tables of shop.db"
        " (0 s)\n"
        "Waiting for another process, which changes the tables of shop.db (10 s)\n"
    )


def test_an_app_with_one_database_names_none() -> None:
    assert render(diagnose(NoSuchDatabase("shop", ()))) == (
        "There is no database 'shop'.\n"
        "  cause:  DATABASES names none.\n"
        "  action: Name one of them, or leave --database out for the one of DATABASE_DSN."
    )


def test_resume_and_retry_exclude_each_other(run: Run) -> None:
    assert said(run("migrate", "--resume", "--retry"), 2).splitlines()[-1] == (
        "Error: --resume goes on with a migration and --retry begins it anew: give one of them."
    )


def test_grants_are_printed_for_a_server_and_refused_for_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(run("grants"), 2).startswith("eggycore: The database shop.db has no users to grant anything to.\n")
    monkeypatch.setenv("DATABASE_DSN", "postgresql://root:secret@db.example/shop")
    output = said(run("grants", "--serve", "web", "--migrate", "job"))
    assert 'GRANT USAGE, CREATE ON SCHEMA "public" TO "job";' in output
    assert "secret" not in output


def test_a_terminal_gets_a_bar(folder: Path, migrations: Path) -> None:
    script = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'eggycore', 'db', 'migrate']) >> 8)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.returncode == 0, done.stdout
    assert "Migrating shop.db" in done.stdout
    assert "100%" in done.stdout
    assert done.stdout.splitlines()[-1] == "Applied: 0001_a and 0002_b."


def doctor(*arguments: str) -> dict[str, list[tuple[str, str, str]]]:
    """What doctor says of each subject: state, text, action."""
    result = CliRunner().invoke(eggycore, ["doctor", "--json", *arguments], prog_name="eggycore")
    found: dict[str, list[tuple[str, str, str]]] = {}
    for row in json.loads(result.stdout):
        found.setdefault(row["subject"], []).append((row["state"], row["text"], row["action"]))
    return found


def test_doctor_says_what_a_start_would_do_with_the_schema_and_does_nothing(run: Run, migrations: Path) -> None:
    found = doctor()["database default"]
    assert ("ok", "A start applies 2 migrations: 0001_a, 0002_b.", "") in found
    assert ("ok", "A start adds table customer.", "") in found
    assert "shop.db: 2 pending." in said(run("status"))
    found = doctor("--set", "DATABASE_AUTO_TABLES=false", "--set", "DATABASE_MIGRATIONS=check")["database default"]
    assert (
        "red",
        "A start waits for 2 migrations to be applied: 0001_a, 0002_b.",
        "Run `eggycore db migrate`.",
    ) in found
    assert (
        "warning",
        "The models have what the database lacks: table customer.",
        "",
    ) in found
