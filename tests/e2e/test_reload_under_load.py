"""SIGHUP to a process under load: what changes does so without a failed request, what is refused changes nothing."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.e2e.traffic import Answers, load, request
from tests.servers import PostgresServer, postgres_server

Start = Callable[..., Awaitable[Any]]

CLIENTS = 12
PATIENCE = 30.0
QUIET = {"HTTP_ACCESS_LOG": "false", "CONFIG_WATCH": "false"}
"""No line for each request, and no reload but those that the signal asks for."""


class Folder:
    """The folder of an app: its module, its .env and its password file."""

    def __init__(self, path: Path, app: Path, server: PostgresServer) -> None:
        self.path = path
        self._server = server
        (path / "data_app.py").write_text(app.read_text())

    def write(self, **changed: str) -> None:
        settings = {
            "DATABASE_SCHEME": "postgresql",
            "DATABASE_HOST": self._server.host,
            "DATABASE_PORT": str(self._server.port),
            "DATABASE_NAME": "test",
            "DATABASE_USER": self._server.user,
            "DATABASE_PASSWORD_FILE": str(self.path / "password"),
            **changed,
        }
        (self.path / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    def rotate(self, password: str) -> None:
        """Give the user another password, which new connections need."""
        self._server.set_password(password)
        hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self._server.data / "pg_hba.conf").write_text(hba)
        self._server.execute("SELECT pg_reload_conf()")
        (self.path / "password").write_text(f"{password}\n")


async def reloaded(instance: Any, message: str) -> dict[str, Any]:
    """What the log says of the next reload, which must have this outcome."""
    instance.signal(signal.SIGHUP)
    line: dict[str, Any] = await instance.until(message)
    return line


async def more(answers: Answers, count: int = 200) -> None:
    """Wait until so many more answers have come."""
    goal = answers.statuses.total() + count
    async with asyncio.timeout(PATIENCE):
        while answers.statuses.total() < goal:
            await asyncio.sleep(0.01)


async def test_settings_change_under_load_without_a_failed_request(start: Start, apps: Path, tmp_path: Path) -> None:
    with postgres_server() as server:
        folder = Folder(tmp_path, apps / "data_app.py", server)
        folder.rotate("first")
        folder.write()
        instance = await start("data_app", "--plugins", "db,cache", folder=tmp_path, **QUIET)
        await instance.until("ready")
        requests = itertools.cycle([request("POST", "/forms"), request("GET", "/forms")])
        answers = Answers()

        async with load([lambda: instance.addresses["http"]] * CLIENTS, lambda: next(requests), answers):
            await more(answers)
            folder.write(DATABASE_MAX_OPEN_CONNS="3", LOG_LEVEL="debug", CACHE_TTL="7s")
            applied = await reloaded(instance, "configuration applied")
            assert set(applied["changed"]) == {"DATABASE_MAX_OPEN_CONNS", "LOG_LEVEL", "CACHE_TTL"}
            await more(answers)
            await asyncio.to_thread(folder.rotate, "second")
            folder.write(DATABASE_MAX_OPEN_CONNS="20")
            applied = await reloaded(instance, "configuration applied")
            assert "DATABASE_PASSWORD" in applied["changed"]
            await more(answers, 500)
        assert answers.broken == []
        assert answers.statuses.keys() == {200}
        instance.signal(signal.SIGTERM)
        assert await instance.ended() == 0
        assert [line for line in instance.lines if line["level"] in ("error", "fatal")] == []
        stored = {number for (number,) in server.execute("SELECT id FROM form", name="test")}
        assert set(answers.written) == stored


async def test_another_database_is_refused_under_load_and_nothing_changes(
    start: Start, apps: Path, tmp_path: Path, postgres_dsn: str
) -> None:
    def write(**settings: str) -> None:
        (tmp_path / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    (tmp_path / "data_app.py").write_text((apps / "data_app.py").read_text())
    write(DATABASE_DSN=postgres_dsn, LOG_LEVEL="info")
    instance = await start("data_app", "--plugins", "db", folder=tmp_path, **QUIET)
    await instance.until("ready")
    answers = Answers()
    async with load([lambda: instance.addresses["http"]] * CLIENTS, lambda: request("POST", "/forms"), answers):
        await more(answers)
        write(DATABASE_DSN=f"{postgres_dsn}_other", DATABASE_MAX_OPEN_CONNS="1", LOG_LEVEL="error")
        refused = await reloaded(instance, "configuration refused")
        assert refused["blamed"] == "plugin db (eggycore-db 0.1.0)"
        assert refused["reason"] == (
            "The new configuration was refused, and the old one stays.\n"
            "  cause:  The DSN of the database default names another one than the one that is open. A reload changes "
            "user and password only; restart to use another database.\n"
            "  action: Take the change back, or restart with it."
        )
        await more(answers)
        write(DATABASE_DSN=postgres_dsn, DATABASE_MAX_OPEN_CONNS="9", LOG_LEVEL="info")
        applied = await reloaded(instance, "configuration applied")
        assert applied["changed"] == ["DATABASE_MAX_OPEN_CONNS"]
        await more(answers)
    assert answers.broken == []
    assert answers.statuses.keys() == {200}
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0
