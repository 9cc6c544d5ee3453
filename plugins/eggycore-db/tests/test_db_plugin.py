"""The plugin in a real runtime: opened at start, given to handlers, checked, measured, closed at the end."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import peewee
import pytest
from aiohttp.web import Request

from eggycore import Runtime, hookimpl
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.testing import running
from eggycore_db import (
    Database,
    DatabaseInitializer,
    DatabaseUnusable,
    Model,
    Repository,
    default_config,
    get_db,
    register_repository,
)


class Form(Model):
    title = peewee.CharField()


class Forms(Repository):
    model = Form


class App:
    """An app with one route that writes and one that reads."""

    @hookimpl
    def register_services(self, runtime: Runtime) -> None:
        async def write(request: Request, db: Database) -> dict[str, Any]:
            form = await db.create(Form, title=request.match_info["title"])
            return {"id": form.id, "same": get_db() is db, "in_worker": await db.run(get_db) is db}

        async def read(request: Request, db: Database) -> list[str]:
            return [form.title for form in await db.list(Form.select().order_by(Form.id))]

        runtime.http.post("/forms/{title}", write)
        runtime.http.get("/forms", read)


@pytest.fixture(autouse=True)
def repositories(registered: None) -> None:
    register_repository(Forms)


async def test_a_handler_reads_what_another_wrote_and_all_is_closed_at_the_end(tmp_path: Path) -> None:
    async with running(App(), plugins=["db"], folder=tmp_path) as service:
        async with service.http.post("/forms/first") as response:
            assert await response.json() == {"id": 1, "same": True, "in_worker": True}
        async with service.http.get("/forms") as response:
            assert await response.json() == ["first"]
        async with service.health.get("/healthz") as response:
            assert (await response.json())["checks"]["database"] == "OK"
        names = {family.name for family in service.runtime.metrics.collect()}
        assert {"db_query_duration_seconds", "db_connections_open", "db_connections_in_use", "db_jobs_waiting"} <= names
    assert "eggycore.db" in await asyncio.to_thread(os.listdir, tmp_path)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("eggycore-db")]


async def test_two_runtimes_in_one_process_keep_their_rows_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    async with (
        running(App(), plugins=["db"], folder=folders[0]) as a,
        running(App(), plugins=["db"], folder=folders[1]) as b,
    ):
        for service, title in ((a, "of-a"), (b, "of-b")):
            async with service.http.post(f"/forms/{title}") as response:
                assert await response.json() == {"id": 1, "same": True, "in_worker": True}
        for service, title in ((a, "of-a"), (b, "of-b")):
            async with service.http.get("/forms") as response:
                assert await response.json() == [title]


async def test_a_database_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable):
        async with running(App(), plugins=["db"], settings={"DATABASE_DSN": f"sqlite:///{tmp_path}/no/such.db"}):
            pass


async def test_a_dsn_that_does_not_parse_is_refused_before_anything_opens() -> None:
    with pytest.raises(ConfigError) as refused:
        async with running(App(), plugins=["db"], settings={"DATABASE_DSN": "mysql://me:hunter2@db:port/forms"}):
            pass
    text = render(diagnose(refused.value))
    assert "DATABASE_DSN: " in text
    assert "declared by plugin db" in text
    assert "hunter2" not in text


async def test_the_initializer_is_usable_by_itself(tmp_path: Path) -> None:
    initializer = DatabaseInitializer(default_config(), folder=tmp_path)
    assert (initializer.name, initializer.provides) == ("database", Database)
    async with initializer.open() as db:
        assert db.location == str(tmp_path / "eggycore.db")
        assert await db.run(db.peewee.get_tables) == ["form"]
