"""SIGTERM while a process does something with its database: it ends in time, and leaves nothing half done."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.traffic import ask
from tests.servers import MariaDBServer, PostgresServer, Proxy, mariadb_server, postgres_server
from tests.servers.processes import wait_until

Start = Callable[..., Awaitable[Any]]
AnyServer = PostgresServer | MariaDBServer

BUDGET = 3.0
"""Seconds of SHUTDOWN_TIMEOUT here."""

FORGOTTEN = 60.0
"""Seconds, more than any budget here."""

CLIENTS = {
    "postgresql": "SELECT query FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    "mariadb": "SELECT info FROM information_schema.processlist WHERE command <> 'Daemon' AND id <> CONNECTION_ID()",
}
SLEEP = {"postgresql": "SELECT pg_sleep({})", "mariadb": "DO SLEEP({})"}


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """A server of the test's own."""
    with postgres_server() if request.param == "postgresql" else mariadb_server() as one:
        yield one


def kind(server: AnyServer) -> str:
    return "postgresql" if isinstance(server, PostgresServer) else "mariadb"


def clients(server: AnyServer) -> list[str]:
    """What each session runs, or has run last."""
    return [text or "" for (text,) in server.execute(CLIENTS[kind(server)])]


async def nobody_is_connected(server: AnyServer) -> None:
    await asyncio.to_thread(wait_until, lambda: not clients(server))


def forms(server: AnyServer) -> int:
    ((count,),) = server.execute("SELECT COUNT(*) FROM form", name="test")
    return int(count)


async def app(start: Start, server: AnyServer, *, plugins: str = "db", **environ: str) -> Any:
    settings = {"DATABASE_DSN": server.dsn(), "SHUTDOWN_TIMEOUT": f"{BUDGET}s", **environ}
    return await start("data_app", "--plugins", plugins, **settings)


async def stopped(instance: Any) -> tuple[int, dict[str, Any]]:
    """Exit code and summary line, once it has ended on SIGTERM, in time and without a traceback."""
    began = time.monotonic()
    instance.signal(signal.SIGTERM)
    code = await instance.ended()
    assert time.monotonic() - began < BUDGET + 1
    stderr = await instance.stderr()
    assert "Traceback" not in stderr
    assert "forced exit" not in stderr
    assert instance.said("forced exit: what is still running is cut off") == []
    assert [line for line in instance.lines if "exception" in line] == []
    (summary,) = instance.said("stopped")
    return code, summary


@pytest.mark.parametrize("timeout", ["5s", "60s"])
async def test_while_it_connects_to_a_network_that_swallows_everything(
    start: Start, server: AnyServer, timeout: str
) -> None:
    async with Proxy(server.host, server.port) as proxy:
        await proxy.black_hole()
        dsn = server.dsn().replace(f":{server.port}/", f":{proxy.port}/")
        instance = await app(start, server, DATABASE_DSN=dsn, DATABASE_CONNECT_TIMEOUT=timeout)
        await instance.until("listening")
        async with asyncio.timeout(FORGOTTEN):
            while not proxy.accepted:
                await asyncio.sleep(0.01)
        code, summary = await stopped(instance)
        assert (code, summary["finished"], summary["cut"]) == (0, 0, 0)
        assert instance.said("failed to close") == []


async def test_while_it_waits_for_somebody_to_apply_migrations(start: Start, server: AnyServer, tmp_path: Path) -> None:
    (tmp_path / "0001_one.py").write_text(
        "def up(migrator, db):\n    db.execute_sql('CREATE TABLE one (id integer)')\n"
    )
    instance = await app(start, server, DATABASE_MIGRATIONS="check", DATABASE_MIGRATIONS_FOLDER=str(tmp_path))
    line = await instance.until("not up yet, trying again")
    assert "DATABASE_MIGRATIONS is check" in line["reason"]
    code, _ = await stopped(instance)
    assert code == 0
    await nobody_is_connected(server)
    tables = "SELECT table_name FROM information_schema.tables WHERE table_name IN ('one', 'form')"
    assert server.execute(tables, name="test") == []


async def test_while_it_migrates_and_another_waits_for_the_lock(
    start: Start, server: AnyServer, tmp_path: Path
) -> None:
    sleep = SLEEP[kind(server)].format(FORGOTTEN)
    first, second, third = (
        f"    db.execute_sql('CREATE TABLE {name} (id integer)')\n" for name in ("one", "two", "three")
    )
    (tmp_path / "0001_one.py").write_text(f"def up(migrator, db):\n{first}")
    (tmp_path / "0002_slow.py").write_text(f"def up(migrator, db):\n{second}    db.execute_sql('{sleep}')\n{third}")
    environ = {"DATABASE_MIGRATIONS": "auto", "DATABASE_MIGRATIONS_FOLDER": str(tmp_path)}
    migrating = await app(start, server, **environ)
    await migrating.until("migration applied", migration="0001_one")
    await asyncio.to_thread(wait_until, lambda: any(sleep in text for text in clients(server)))
    waiting = await app(start, server, **environ)
    await waiting.until("waiting for another process that changes the tables")
    code, _ = await stopped(waiting)
    assert code == 0
    code, _ = await stopped(migrating)
    assert code == 1
    (warning,) = migrating.said("asked to stop in the middle of a migration: it goes on while it may")
    assert warning["migration"] == "0002_slow"
    (cut,) = migrating.said("cut while closing: its caller has left")
    assert cut["work"] == "carry_out"
    await nobody_is_connected(server)
    tables = "SELECT table_name FROM information_schema.tables WHERE table_name IN ('one', 'two', 'three', 'form')"
    left = {name for (name,) in server.execute(tables, name="test")}
    assert left == ({"one"} if kind(server) == "postgresql" else {"one", "two"})
    again = await app(start, server, **environ | {"DATABASE_MIGRATIONS": "check"}, STARTUP_TIMEOUT="2s")
    assert await again.ended() != 0
    assert "0002_slow" in await again.stderr()  # which is pending, or has not come to its end


async def test_while_the_cache_is_warmed_up(start: Start, server: AnyServer) -> None:
    instance = await app(start, server, plugins="db,cache", WARM_UP=f"{FORGOTTEN}", CACHE_WARM_UP_TIMEOUT="60s")
    await instance.until("hanging")
    code, _ = await stopped(instance)
    assert code == 0
    (cut,) = instance.said("cut while closing: its caller has left")
    assert cut["work"] == "nap"
    await nobody_is_connected(server)


@pytest.mark.parametrize("path", ["/sleep", "/hold", "/iterate"])
async def test_while_a_request_takes_longer_than_the_budget(start: Start, server: AnyServer, path: str) -> None:
    instance = await app(start, server)
    await instance.until("ready")
    assert (await ask(instance.addresses["http"], "POST", "/forms"))[0] == 200
    asking = asyncio.create_task(ask(instance.addresses["http"], "POST", f"{path}?seconds={FORGOTTEN}"))
    await instance.until("busy")
    code, summary = await stopped(instance)
    assert (code, summary["finished"], summary["cut"]) == (1, 0, 1)
    assert (await asking)[0] == 503
    await nobody_is_connected(server)
    assert forms(server) == 1


async def test_while_rows_are_inserted_in_bulk_whole_batches_stay(start: Start, server: AnyServer) -> None:
    instance = await app(start, server)
    await instance.until("ready")
    asking = asyncio.create_task(ask(instance.addresses["http"], "POST", "/bulk"))
    await instance.until("busy")
    code, summary = await stopped(instance)
    assert (code, summary["cut"]) == (1, 1)
    assert (await asking)[0] == 503
    await nobody_is_connected(server)
    assert forms(server) > 0
    assert forms(server) % 500 == 0


async def test_requests_that_wait_for_a_connection_when_the_drain_begins_are_answered(
    start: Start, server: AnyServer
) -> None:
    instance = await app(start, server, DATABASE_MAX_OPEN_CONNS="1")
    await instance.until("ready")
    asking = [asyncio.create_task(ask(instance.addresses["http"], "POST", "/sleep?seconds=0.2")) for _ in range(6)]
    for _ in asking:
        await instance.until("busy")
    code, summary = await stopped(instance)
    assert (code, summary["finished"], summary["cut"]) == (0, 6, 0)
    assert [status for status, _ in await asyncio.gather(*asking)] == [200] * 6
    await nobody_is_connected(server)


async def test_while_the_network_swallows_everything_and_requests_wait(start: Start, server: AnyServer) -> None:
    async with Proxy(server.host, server.port) as proxy:
        dsn = server.dsn().replace(f":{server.port}/", f":{proxy.port}/")
        instance = await app(start, server, DATABASE_DSN=dsn)
        await instance.until("ready")
        assert (await ask(instance.addresses["http"], "POST", "/forms"))[0] == 200
        await proxy.black_hole()
        asking = [asyncio.create_task(ask(instance.addresses["http"], "GET", "/forms")) for _ in range(4)]
        async with asyncio.timeout(FORGOTTEN):
            while proxy.accepted < 3:
                await asyncio.sleep(0.01)
        code, summary = await stopped(instance)
        assert (code, summary["cut"]) == (1, 4)
        assert [status for status, _ in await asyncio.gather(*asking)] == [503] * 4
