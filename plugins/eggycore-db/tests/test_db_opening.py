"""A database that cannot be opened says what, why and what to do; one that breaks later turns its check red."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import peewee
import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.errors import CheckFailed
from eggycore_db import Database, DatabaseUnusable

ANOTHER = "or name another file in DATABASE_DSN."


async def refusal(path: Path) -> str:
    """The report of a database that cannot be opened; nothing may stay open."""
    database = Database(f"sqlite:///{path}", busy_timeout=0.01)
    with pytest.raises(DatabaseUnusable) as refused:
        await database.open()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("eggycore-db")]
    return render(diagnose(refused.value))


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (c)")


def move(path: Path, target: Path) -> Path:
    return path.rename(target)


def chmod(path: Path, mode: int) -> None:
    with _own_rights():
        path.chmod(mode)


def report(path: Path, cause: str, action: str) -> str:
    return f"The database {path} cannot be used.\n  cause:  {cause}\n  action: {action}"


async def test_a_missing_folder(tmp_path: Path) -> None:
    path = tmp_path / "no" / "such" / "test.db"
    cause, action = f"The folder {path.parent} does not exist.", f"Make it with `mkdir -p {path.parent}`, {ANOTHER}"
    assert await refusal(path) == report(path, cause, action)


async def test_a_missing_folder_with_a_space_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "my data" / "test.db"
    assert f"Make it with `mkdir -p '{path.parent}'`, {ANOTHER}" in await refusal(path)


async def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "test.db"
    assert f"The folder {path.parent} does not exist." in await refusal(path)


async def test_a_folder(tmp_path: Path) -> None:
    assert await refusal(tmp_path) == report(tmp_path, "It is a folder.", "Name a file in DATABASE_DSN.")


@pytest.mark.parametrize("exists", [False, True])
async def test_a_folder_without_the_right_to_write(
    foreign_folder: Path, exists: bool, request: pytest.FixtureRequest
) -> None:
    path = foreign_folder / "test.db"
    if exists:
        make_database(path)
        chmod(path, 0o666)
    request.getfixturevalue("as_nobody")
    assert await refusal(path) == report(
        path,
        f"This process may not write in the folder {foreign_folder}, and SQLite keeps its journal beside the file.",
        f"Give its user the right to write in {foreign_folder}, {ANOTHER}",
    )


async def test_a_file_without_the_right_to_write(foreign_folder: Path, as_nobody: Path) -> None:
    path = foreign_folder / "test.db"
    with _own_rights():
        make_database(path)
    chmod(path, 0o444)
    chmod(foreign_folder, 0o777)
    assert await refusal(path) == report(
        path,
        "This process may not write to the file.",
        f"Give its user the right to write to {path}, {ANOTHER}",
    )


@pytest.mark.parametrize("text", [b"this is no database, whatever its name says" * 100, b"\0" * 5000])
async def test_a_file_that_is_no_database(path: Path, text: bytes) -> None:
    await asyncio.to_thread(path.write_bytes, text)
    assert await refusal(path) == report(
        path,
        "The file is not an SQLite database, or it is damaged (file is not a database).",
        "Put a backup in its place, or name another file in DATABASE_DSN.",
    )
    assert await asyncio.to_thread(path.read_bytes) == text


def damage(path: Path) -> None:
    make_database(path)
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)


async def test_a_damaged_database(path: Path) -> None:
    damage(path)
    assert "or it is damaged (database disk image is malformed)." in await refusal(path)


async def test_a_file_locked_by_another_process(path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (c)")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert await refusal(path) == report(
            path,
            "Another process has locked it.",
            f"Stop that process (`fuser -v {path}` names it), {ANOTHER}",
        )
    finally:
        holder.close()


async def test_anything_else_is_told_in_the_words_of_sqlite(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{path}")

    def fail() -> None:
        raise peewee.OperationalError("disk I/O error")

    monkeypatch.setattr(database._engine, "prove", fail)
    with pytest.raises(DatabaseUnusable) as refused:
        await database.open()
    assert render(diagnose(refused.value)) == report(
        path, "SQLite says: disk I/O error.", f"Look at the file and its folder, {ANOTHER}"
    )


async def test_an_opening_that_is_cancelled_leaves_nothing_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{path}")
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(10)

    monkeypatch.setattr(database._engine, "prove", wait)
    opening = asyncio.create_task(database.open())
    await begun.wait()
    opening.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("eggycore-db")]


async def failed_check(db: Database) -> str:
    with pytest.raises(CheckFailed) as failed:
        await db.check()
    assert failed.value.certain
    return str(failed.value)


async def test_the_check_is_green_while_all_is_well(any_db: Database) -> None:
    await any_db.check()


async def test_the_check_is_red_at_once_when_the_file_is_gone(db: Database, path: Path) -> None:
    moved = move(path, path.with_name("moved.db"))
    assert await failed_check(db) == f"the database file {path} is gone"
    move(moved, path)
    await db.check()


async def test_a_file_that_is_gone_is_not_made_again_by_a_new_connection(db: Database, path: Path) -> None:
    move(path, path.with_name("moved.db"))
    with pytest.raises(DatabaseUnusable, match="cannot be used"):
        await db.read(db.peewee.get_tables)
    assert "test.db" not in await asyncio.to_thread(os.listdir, path.parent)


async def test_the_check_is_red_at_once_when_the_file_was_replaced(db: Database, path: Path) -> None:
    move(path, path.with_name("moved.db"))
    make_database(path)
    assert await failed_check(db) == f"the database file {path} was replaced; restart to use the new one"


async def test_the_check_is_red_at_once_when_the_file_or_its_folder_cannot_be_written(
    foreign_folder: Path, request: pytest.FixtureRequest
) -> None:
    path = foreign_folder / "test.db"
    async with Database(f"sqlite:///{path}") as db:
        chmod(path, 0o666)
        request.getfixturevalue("as_nobody")
        assert await failed_check(db) == f"this process may not write to {foreign_folder}"
        chmod(foreign_folder, 0o777)
        await db.check()
        chmod(path, 0o444)
        assert await failed_check(db) == f"this process may not write to {path}"
        chmod(path, 0o666)


@contextmanager
def _own_rights() -> Iterator[None]:
    """Inside the block, act as the user that runs the tests."""
    acting = os.geteuid()
    os.seteuid(os.getuid())
    try:
        yield
    finally:
        os.seteuid(acting)
