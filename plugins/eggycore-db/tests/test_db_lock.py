"""The migrations' lock: many processes at once, one that is paused, one that is killed, and what waiting looks like."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest

from eggycore_db import Database
from eggycore_db.lock import Holder, lock_of
from eggycore_db.migrations import locking
from eggycore_db.migrations.history import read
from eggycore_db.migrations.locking import locked
from eggycore_db.pool import PoolLimits

migrating = import_module("plugins.eggycore-db.tests.migrating")
Folder, Migrator, history, rows, tables = (
    getattr(migrating, name) for name in ("Folder", "Migrator", "history", "rows", "tables")
)

PROCESSES = 10


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "migrations")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.db"
    dsn: str = request.getfixturevalue({"postgresql": "postgres_dsn", "mariadb": "mariadb_dsn"}[request.param])
    return dsn


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Database]:
    async with Database(dsn) as database:
        yield database


@pytest.fixture
def started() -> Iterator[ExitStack]:
    """What ends the processes of a test."""
    with ExitStack() as stack:
        yield stack


def start(dsn: str, folder: Folder, started: ExitStack) -> Migrator:
    migrator = Migrator(dsn, folder)
    started.callback(migrator.end)
    return migrator


async def test_ten_processes_that_start_at_once_apply_each_migration_once(
    dsn: str, db: Database, folder: Folder, started: ExitStack
) -> None:
    folder.sql("table", "CREATE TABLE hit (id INTEGER)")
    for number in range(4):
        folder.sql(
            f"hit {number}", f"INSERT INTO hit (id) VALUES ({number})", f"ALTER TABLE hit ADD COLUMN c{number} INTEGER"
        )
    migrators = [start(dsn, folder, started) for _ in range(PROCESSES)]
    for migrator in migrators:
        migrator.ready()
    for migrator in migrators:
        migrator.go()
    applied = [name for migrator in migrators for name in migrator.applied()]
    assert sorted(applied) == ["0001_table", "0002_hit_0", "0003_hit_1", "0004_hit_2", "0005_hit_3"]
    assert await rows(db, "SELECT id FROM hit ORDER BY id") == [(0,), (1,), (2,), (3,)]
    assert {record.state for record in (await history(db)).values()} == {"applied"}


async def test_a_paused_migrator_is_waited_for_and_never_doubled(
    dsn: str, db: Database, folder: Folder, started: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(folder)
    paused = start(dsn, folder, started)
    paused.ready()
    paused.go()
    await begun(folder)
    os.kill(paused.process.pid, signal.SIGSTOP)
    (folder.path / "go").touch()
    said: asyncio.Queue[Holder | None] = asyncio.Queue()
    monkeypatch.setattr(locking, "SAY_EVERY", 0.0)

    async def other() -> int:
        async with locked(db, lambda holder, seconds: said.put_nowait(holder)) as session:
            return len(await session.run(read, db.peewee))

    waiting = asyncio.create_task(other())
    for _ in range(4):  # so many attempts to take it
        holder = await said.get()
        assert holder is not None
        assert (holder.host, holder.pid) == (socket.gethostname(), paused.process.pid)
    assert not waiting.done()
    os.kill(paused.process.pid, signal.SIGCONT)
    assert await waiting == 1
    assert paused.applied() == ["0001_hold"]


async def test_another_takes_over_from_a_migrator_that_was_killed(
    dsn: str, db: Database, folder: Folder, started: ExitStack
) -> None:
    hold(folder)
    killed, other = (start(dsn, folder, started) for _ in range(2))
    killed.ready()
    other.ready()
    killed.go()
    await begun(folder)
    other.go()
    killed.end()
    (folder.path / "go").touch()
    assert other.applied() == ["0001_hold"]
    assert list(await history(db)) == ["0001_hold"]


def hold(folder: Folder) -> None:
    """A migration that waits for a file before it does anything."""
    folder.write(
        "hold",
        """
        (Path(__file__).parent / "begun").touch()
        while not (Path(__file__).parent / "go").exists():
            time.sleep(0.01)
        """,
        head="import time\nfrom pathlib import Path",
    )


async def begun(folder: Folder) -> None:
    while not (folder.path / "begun").exists():
        await asyncio.sleep(0.01)


async def test_the_holder_is_named_while_it_holds_and_forgotten_afterwards(db: Database) -> None:
    lock = lock_of(db.peewee)
    assert await db.run(lock.holder, db.peewee) is None
    async with db.session() as session:
        assert await session.run(lock.acquire, db.peewee)
        holder = await db.read(lock_of(db.peewee).holder, db.peewee)
        assert holder is not None
        assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
        moment = holder.since + timedelta(seconds=3)
        assert str(Holder(host="web-1", pid=7, since=moment, beat=moment)).startswith(
            f"process 7 on web-1 since {moment:%H:%M:%S} UTC, last heard of "
        )
        await session.run(lock.release, db.peewee)
    assert await db.run(lock.holder, db.peewee) is None


async def test_a_second_taker_in_the_same_process_waits_too(db: Database, dsn: str) -> None:
    async with Database(dsn) as other, locked(db), other.session() as session:
        assert not await session.run(lock_of(other.peewee).acquire, other.peewee)
    async with Database(dsn) as other, locked(other):
        pass


async def test_the_holder_beats_on_another_connection(db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "BEAT_EVERY", 0.0)
    beats = 0
    lock_class = type(lock_of(db.peewee))
    beat = lock_class.beat

    def counted(self: object, database: object) -> None:
        nonlocal beats
        beat(self, database)
        beats += 1

    monkeypatch.setattr(lock_class, "beat", counted)
    async with locked(db):
        while beats < 3:
            await asyncio.sleep(0)


async def test_a_pool_of_one_connection_does_without_beating(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "BEAT_EVERY", 0.0)
    async with Database(dsn, pool=PoolLimits(max_open=1, acquire_timeout=1)) as db, locked(db) as session:
        for _ in range(20):
            await session.run(db.peewee.execute_sql, "SELECT 1")


async def test_who_waits_can_be_cancelled(db: Database, dsn: str) -> None:
    said = asyncio.Event()
    async with Database(dsn) as other, locked(db):

        async def wait() -> None:
            async with locked(other, lambda holder, seconds: said.set()):
                raise AssertionError("it is held by another")

        waiting = asyncio.create_task(wait())
        await said.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with Database(dsn) as other, locked(other):
        pass


async def test_a_lock_file_of_an_ended_process_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "test.db.migrations-lock").write_text('{"host": "gone", "pid": 1, "since"')
    async with Database(f"sqlite:///{tmp_path}/test.db") as db:
        assert await db.run(lock_of(db.peewee).holder, db.peewee) is None
        async with locked(db):
            pass
