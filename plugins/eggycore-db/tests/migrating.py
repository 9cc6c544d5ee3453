"""What the tests of migrations share: a folder of migrations, databases of every kind, and processes that migrate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import peewee

from eggycore.diagnostics import diagnose, render
from eggycore_db import Database
from eggycore_db.migrations.applying import Order, migrate, rollback
from eggycore_db.migrations.files import create_file
from eggycore_db.migrations.history import Record, read

ONE_MIGRATOR = """
import asyncio, json, sys
from pathlib import Path
from eggycore_db import Database
from eggycore_db.migrations.prepare import prepare_schema

async def main(dsn, folder):
    async with Database(dsn) as db:
        print("open", flush=True)
        sys.stdin.readline()
        report = await prepare_schema(db, migrations="auto", folder=Path(folder), auto_tables=False)
        print(json.dumps(report.applied), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


class Folder:
    """A folder of migrations.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, up: str, down: str = "", *, head: str = "") -> Path:
        """Write the next migration; `up` and `down` are the bodies of the functions."""
        lines = ["from peewee import *", dedent(head), "def up(migrator, db):", indent(dedent(up), "    ")]
        if down:
            lines += ["def down(migrator, db):", indent(dedent(down), "    ")]
        return create_file(self.path, name, "\n".join(lines) + "\n")

    def sql(self, name: str, *up: str, down: tuple[str, ...] = (), head: str = "") -> Path:
        """Write the next migration, of plain statements."""
        return self.write(name, _executes(up), _executes(down), head=head)

    def rewrite(self, path: Path, *up: str, head: str = "") -> None:
        """Put other statements into a migration."""
        path.write_text(f"{head}\ndef up(migrator, db):\n{indent(_executes(up), '    ')}\n")


def _executes(statements: tuple[str, ...]) -> str:
    return "\n".join(f"db.execute_sql({statement!r})" for statement in statements)


async def apply(db: Database, folder: Folder, **order: Any) -> tuple[str, ...]:
    """Apply what is pending."""
    return await migrate(db, Order(folder=folder.path, **order))


async def rollback_all(db: Database, folder: Folder) -> tuple[str, ...]:
    """Take back whatever was applied."""
    return await rollback(db, Order(folder=folder.path, steps=1000))


async def history(db: Database) -> dict[str, Record]:
    """What the database has had."""
    return {record.name: record for record in await db.run(read, db.peewee)}


async def columns(db: Database, table: str) -> list[str]:
    """The names of a table's columns."""
    return [column.name for column in await db.run(db.peewee.get_columns, table)]


async def tables(db: Database) -> list[str]:
    """The app's tables."""
    return sorted(name for name in await db.run(db.peewee.get_tables) if not name.startswith("eggycore_"))


async def rows(db: Database, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    return await db.run(lambda: list(db.peewee.execute_sql(sql).fetchall()))


async def execute(db: Database, *statements: str) -> None:
    """Run plain statements."""

    def run(database: peewee.Database) -> None:
        for statement in statements:
            database.execute_sql(statement)

    await db.run(run, db.peewee)


def told(error: BaseException) -> str:
    """The whole message of an error."""
    return render(diagnose(error))


class Migrator:
    """A process of its own that opens a database, waits for `go`, and applies what is pending.

    Args:
        dsn: The database.
        folder: The migrations.
    """

    def __init__(self, dsn: str, folder: Folder) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ONE_MIGRATOR, dsn, str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        """Wait until it has opened the database."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "open\n", self.process.communicate()[1]

    def go(self) -> None:
        """Let it migrate."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def applied(self) -> list[str]:
        """What it has applied, when it has ended well."""
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        names: list[str] = json.loads(out.splitlines()[-1])
        return names

    def end(self) -> None:
        """End it, however far it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
