"""A whole service whose database is not up yet, dies, comes back, takes no writes or changes its password."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest
from aiohttp.web import Request

from eggycore import Runtime, hookimpl
from eggycore.diagnostics import diagnose, render
from eggycore.testing import Running, running
from eggycore_db import Database, Model
from tests.servers import MariaDBServer, PostgresServer, mariadb_server, postgres_server, reserved_port

PATIENCE = 30.0
INTERVAL, THRESHOLD = 5.0, 3
"""Of the database's health check."""

AT_ONCE = 2.0
"""Seconds, less than the interval of the check: who found out has it run before its turn."""

AnyServer = PostgresServer | MariaDBServer


class Form(Model):
    title = peewee.CharField()


class App:
    """An app with one route that writes and one that reads."""

    @hookimpl
    def register_services(self, runtime: Runtime) -> None:
        async def write(request: Request, db: Database) -> dict[str, Any]:
            return {"id": (await db.create(Form, title="new")).id}

        async def read(request: Request, db: Database) -> list[str]:
            return [form.title for form in await db.list(Form.select().order_by(Form.id))]

        runtime.http.post("/forms", write)
        runtime.http.get("/forms", read)


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """A server of the test's own, with the table of forms, which a kill does not take back."""
    durable = postgres_server(options={"synchronous_commit": "on"})
    with durable if request.param == "postgresql" else mariadb_server() as one:
        create = "CREATE TABLE form (id serial PRIMARY KEY, title varchar(255) NOT NULL)"
        one.execute(create, name="test")
        yield one


async def status(service: Running, method: str = "GET") -> int:
    async with service.http.request(method, "/forms") as response:
        await response.read()
        return response.status


async def readiness(service: Running) -> int:
    async with service.health.get("/readyz") as response:
        return response.status


async def ready_becomes(service: Running, wanted: int) -> float:
    """Seconds until the readiness is that."""
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while await readiness(service) != wanted:
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def works_becomes(service: Running, wanted: int, method: str = "GET") -> None:
    async with asyncio.timeout(PATIENCE):
        while await status(service, method) != wanted:
            await asyncio.sleep(0.05)


async def test_a_server_that_is_not_up_yet_is_waited_for(server: AnyServer, tmp_path: Path) -> None:
    await asyncio.to_thread(server.stop)
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    async with running(App(), plugins=["db"], settings={"DATABASE_DSN": server.dsn()}, folder=tmp_path) as service:
        await starting
        assert await status(service, "POST") == 200


async def test_a_server_that_never_comes_up_ends_the_start_with_cause_and_action(tmp_path: Path) -> None:
    with reserved_port() as port:
        settings = {"DATABASE_DSN": f"postgresql://me:hunter2@127.0.0.1:{port}/forms", "STARTUP_TIMEOUT": "2s"}
        with pytest.raises(Exception, match="database") as never:
            async with running(App(), plugins=["db"], settings=settings, folder=tmp_path):
                pass
    assert render(diagnose(never.value)) == (
        "The database cannot be used now.\n"
        f"  cause:  postgresql://127.0.0.1:{port}/forms: Nothing listens there (Connection refused).\n"
        "  action: Start the server, or correct host and port in the DSN."
    )


async def test_a_server_that_dies_turns_readiness_red_and_requests_fail_at_once_until_it_is_back(
    server: AnyServer, tmp_path: Path
) -> None:
    async with running(App(), plugins=["db"], settings={"DATABASE_DSN": server.dsn()}, folder=tmp_path) as service:
        assert await status(service, "POST") == 200
        await asyncio.to_thread(server.kill)
        await works_becomes(service, 503)
        assert await ready_becomes(service, 503) < AT_ONCE
        began = time.monotonic()
        for _ in range(20):
            async with service.http.get("/forms") as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                text = await response.text()
                assert "The database cannot be used now." in text
                assert "127.0.0.1" not in text
        assert time.monotonic() - began < 2
        await asyncio.to_thread(server.start)
        await works_becomes(service, 200)
        assert await status(service, "POST") == 200
        await ready_becomes(service, 200)


async def test_a_server_that_takes_no_writes_is_not_ready_and_can_be_read(server: AnyServer, tmp_path: Path) -> None:
    async with running(App(), plugins=["db"], settings={"DATABASE_DSN": server.dsn()}, folder=tmp_path) as service:
        assert await status(service, "POST") == 200
        await asyncio.to_thread(set_read_only, server, True)
        assert await ready_becomes(service, 503) < INTERVAL + 2
        assert await status(service, "POST") == 503
        assert await status(service) == 200
        await asyncio.to_thread(set_read_only, server, False)
        assert await status(service, "POST") == 200
        await ready_becomes(service, 200)


def set_read_only(server: AnyServer, on: bool) -> None:
    if isinstance(server, PostgresServer):
        server.set_read_only(on)
    else:
        server.execute(f"SET GLOBAL read_only = {int(on)}")


async def test_a_password_that_was_rotated_is_taken_over_by_a_reload(server: AnyServer, tmp_path: Path) -> None:
    password = tmp_path / "password"
    await asyncio.to_thread(rotate, server, password, "first")
    settings = {
        "DATABASE_SCHEME": "postgresql" if isinstance(server, PostgresServer) else "mysql",
        "DATABASE_HOST": server.host,
        "DATABASE_PORT": str(server.port),
        "DATABASE_NAME": "test",
        "DATABASE_USER": server.user,
        "DATABASE_PASSWORD_FILE": str(password),
    }
    async with running(App(), plugins=["db"], settings=settings, folder=tmp_path) as service:
        assert await status(service, "POST") == 200
        await asyncio.to_thread(rotate, server, password, "second")
        assert await status(service, "POST") == 200  # over the connection that is open
        await asyncio.to_thread(server.disconnect_clients)
        await works_becomes(service, 503)
        result = await service.runtime.reload()
        assert (result.outcome, set(result.changed)) == ("applied", {"DATABASE_PASSWORD"})
        began = time.monotonic()
        await works_becomes(service, 200)
        assert time.monotonic() - began < INTERVAL
        assert await status(service, "POST") == 200


def rotate(server: AnyServer, file: Path, text: str) -> None:
    server.set_password(text)
    if isinstance(server, PostgresServer):
        (server.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server.execute("SELECT pg_reload_conf()")
    file.write_text(f"{text}\n")
