"""Databases through the life of a process: several runtimes, scripts, loops that end too early, and closing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import peewee
import pytest
from aiohttp.web import Request

from eggycore import Runtime, hookimpl, log
from eggycore.log.options import FileOutput, Options
from eggycore.log.pipeline import PIPELINE
from eggycore.testing import Running, running
from eggycore_db import Database, DatabaseUnavailable, PoolLimits, get_db
from eggycore_db.server import ServerLimits
from tests.servers import PostgresServer, Proxy, postgres_server
from tests.servers.processes import wait_until

PATIENCE = 20.0
LONG = 60.0
"""Seconds, more than anything here takes."""


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def log_lines(tmp_path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Reads the lines that were logged so far."""
    path = tmp_path / "service.log"
    PIPELINE.start("info", "json", Options(outputs=(FileOutput(path=path),)), service="orders", environment="test")

    def read() -> list[dict[str, Any]]:
        assert log.flush(10.0)
        return [orjson.loads(line) for line in path.read_bytes().splitlines()]

    yield read
    log.close(10.0)


class App:
    """An app that tells where its databases are."""

    @hookimpl
    def register_services(self, runtime: Runtime) -> None:
        async def where(request: Request) -> list[str]:
            one = peewee.Select(columns=[peewee.SQL("1")])
            names = ("default", "other")
            assert [await get_db(name).scalar(one) for name in names] == [1, 1]
            return [get_db(name).location for name in names]

        runtime.http.get("/where", where)


async def where(service: Running) -> list[str]:
    async with service.http.get("/where") as response:
        assert response.status == 200, await response.text()
        places: list[str] = await response.json()
        return places


async def test_several_runtimes_have_databases_of_their_own(
    postgres_dsn: str, mariadb_dsn: str, tmp_path: Path
) -> None:
    def settings(name: str, dsn: str) -> dict[str, str]:
        (tmp_path / name).mkdir()
        other = f"sqlite:///{tmp_path / name / 'other.db'}"
        return {"DATABASE_DSN": dsn, "DATABASES": "other", "DATABASE_OTHER_DSN": other}

    first = running(App(), plugins=["db"], settings=settings("first", postgres_dsn), folder=tmp_path / "first")
    second = running(App(), plugins=["db"], settings=settings("second", mariadb_dsn), folder=tmp_path / "second")
    async with first as one:
        async with second as two:
            ones, twos = await where(one), await where(two)
            assert [place.partition(":")[0] for place in (ones[0], twos[0])] == ["postgresql", "mysql"]
            assert ones[1].endswith("first/other.db")
            assert twos[1].endswith("second/other.db")
        assert await where(one) == ones


async def test_a_reload_of_one_runtime_leaves_the_databases_of_the_other(
    postgres_dsn: str, mariadb_dsn: str, tmp_path: Path
) -> None:
    def write(name: str, dsn: str, most: int) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / ".env").write_text(f"DATABASE_DSN={dsn}\nDATABASE_MAX_OPEN_CONNS={most}\n")
        return folder

    def most(service: Running) -> int:
        return service.runtime.get(Database).limits.max_open

    first, second = write("first", postgres_dsn, 5), write("second", mariadb_dsn, 6)
    async with running(plugins=["db"], folder=first) as one, running(plugins=["db"], folder=second) as two:
        write("first", postgres_dsn, 7)
        result = await one.runtime.reload()
        assert result.outcome == "applied", result.error
        assert (most(one), most(two)) == (7, 6)


SCRIPT = """
import asyncio, sys, peewee
from eggycore.config import Secret
from eggycore_db import Database, close, connect, get_db
from eggycore_db.settings import DatabaseSettings

dsn = sys.argv[1]
sleep = "SELECT pg_sleep({})" if dsn.startswith("postgresql") else "SELECT SLEEP({})"

def nap(seconds):
    print("busy", flush=True)
    return get_db().peewee.execute_sql(sleep.format(seconds)).fetchall()

async def seven():
    await connect(DatabaseSettings(dsn=Secret(dsn)))
    print(await get_db().scalar(peewee.Select(columns=[peewee.SQL("7")])), flush=True)
    await close()

async def forgetful():
    await connect(DatabaseSettings(dsn=Secret(dsn)))
    tasks = [asyncio.create_task(get_db().run(nap, 0.3)) for _ in range(3)]
    await asyncio.sleep(0.1)

async def interrupted():
    async with Database(dsn) as db:
        from eggycore_db import set_db
        set_db(db)
        async with db.transaction():
            await db.run(nap, 60)
"""


def script(dsn: str, main: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", SCRIPT + main, dsn],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(params=["postgresql", "mariadb"])
def server_dsn(request: pytest.FixtureRequest) -> str:
    """Where an empty database of each kind of server is."""
    dsn: str = request.getfixturevalue("postgres_dsn" if request.param == "postgresql" else "mariadb_dsn")
    return dsn


def test_a_script_may_connect_in_one_loop_after_another(server_dsn: str) -> None:
    with script(server_dsn, "asyncio.run(seven()); asyncio.run(seven())") as process:
        assert process.communicate(timeout=PATIENCE) == ("7\n7\n", "")
    assert process.returncode == 0


def test_a_loop_that_ends_while_workers_are_busy_does_no_harm(server_dsn: str) -> None:
    with script(server_dsn, "asyncio.run(forgetful()); asyncio.run(seven())") as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "7"


def test_ctrl_c_in_the_middle_of_a_query_ends_a_script_at_once(server_dsn: str) -> None:
    with script(server_dsn, "asyncio.run(interrupted())") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < 5
    assert err.splitlines()[-1] == "KeyboardInterrupt"


# --- closing


def sleep_in_database(db: Database, seconds: float) -> object:
    sql = "SELECT pg_sleep({})" if db.kind == "postgresql" else "SELECT SLEEP({})"
    cursor = db.peewee.execute_sql(sql.format(seconds))  # type: ignore[no-untyped-call]  # peewee's stubs lack its types
    return cursor.fetchall()


async def test_closing_finishes_what_somebody_waits_for(server_dsn: str) -> None:
    db = Database(server_dsn, pool=PoolLimits(max_open=1))
    await db.open()
    waiting = [asyncio.create_task(db.run(sleep_in_database, db, 0.7)) for _ in range(2)]
    await becomes(lambda: db.pools[0].in_use == 1 and db.pools[0].waiting == 1)
    await db.close()
    for outcome in await asyncio.gather(*waiting):
        assert len(outcome) == 1  # type: ignore[arg-type]  # it has a length


async def test_closing_cuts_what_nobody_waits_for_and_says_so(
    server_dsn: str, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    db = Database(server_dsn)
    await db.open()
    leaving = asyncio.create_task(db.run(sleep_in_database, db, LONG))
    await becomes(lambda: db.pools[0].in_use == 1)
    leaving.cancel()
    began = time.monotonic()
    await db.close()
    assert time.monotonic() - began < 5
    (line,) = [line for line in log_lines() if line["message"] == "cut while closing: its caller has left"]
    assert (line["level"], line["location"], line["work"]) == ("warn", db.location, "sleep_in_database")
    assert line["seconds"] < 5


async def test_closing_that_is_cancelled_cuts_everything(server_dsn: str) -> None:
    db = Database(server_dsn)
    await db.open()
    waiting = asyncio.create_task(db.run(sleep_in_database, db, LONG))
    await becomes(lambda: db.pools[0].in_use == 1)
    closing = asyncio.create_task(db.close())
    done, _ = await asyncio.wait({closing}, timeout=0.8)
    assert not done
    closing.cancel()
    with pytest.raises(DatabaseUnavailable):
        await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize("timeout", [3.0, LONG])
async def test_closing_does_not_wait_for_a_connection_that_nobody_waits_for(server_dsn: str, timeout: float) -> None:
    host, _, port = server_dsn.partition("@")[2].partition("/")[0].partition(":")
    async with Proxy(host, int(port)) as proxy:
        await proxy.black_hole()
        dsn = server_dsn.replace(f":{port}/", f":{proxy.port}/")
        opening = asyncio.create_task(Database(dsn, server=ServerLimits(connect=timeout)).open())
        await becomes(lambda: proxy.accepted > 0)
        began = time.monotonic()
        opening.cancel()
        await asyncio.wait({opening})
        assert time.monotonic() - began < 2


def test_a_statement_of_a_process_that_is_killed_ends_on_the_server() -> None:
    with postgres_server() as server:
        with script(server.dsn(), "asyncio.run(interrupted())") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "busy\n"
            wait_until(lambda: sleepers(server) == 1)
            process.kill()
        wait_until(lambda: sleepers(server) == 0)


def sleepers(server: PostgresServer) -> int:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(%' AND pid <> "
    ((count,),) = server.execute(f"{sql} pg_backend_pid()")
    return int(count)


# --- said in the log


async def test_the_log_tells_when_a_server_goes_and_when_it_is_back(
    log_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    def said() -> list[tuple[str, str]]:
        return [(line["level"], line["message"]) for line in log_lines() if "database" in line["message"]]

    one = peewee.Select(columns=[peewee.SQL("1")])
    with postgres_server() as server:
        async with Database(server.dsn()) as db:
            assert await db.scalar(one) == 1
            await asyncio.to_thread(server.kill)
            for _ in range(20):
                with pytest.raises(DatabaseUnavailable):
                    await db.scalar(one)
            down = ("warn", "the database cannot be used, work is refused")
            assert said() == [down]
            await asyncio.to_thread(server.start)
            await becomes(lambda: db.pools[0].trouble is None)
            assert await db.scalar(one) == 1
            assert said() == [down, ("info", "the database can be used again")]
            first, last = log_lines()
            assert first["location"] == last["location"] == db.location
            assert first["reason"].startswith(f"{db.location}: ")
            assert 0 < last["seconds"] < PATIENCE


async def test_a_server_that_was_never_reached_is_left_to_who_opens_it(
    log_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    with postgres_server() as server:
        server.stop()
        with pytest.raises(DatabaseUnavailable):
            await Database(server.dsn()).open()
    assert log_lines() == []
    assert not [thread for thread in threading.enumerate() if "eggycore-db" in thread.name]
