"""A configuration that changes under open databases: limits, query log, credentials, TLS; and what takes a restart."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificate

from eggycore import Initializer, Runtime, hookimpl
from eggycore.config.sources import Layer
from eggycore.testing import Running, running
from eggycore_db import Database, DatabaseUnavailable
from eggycore_db.databases import Databases
from eggycore_db.migrations import prepare
from tests.servers import Certificates, mariadb_server, postgres_server


class Folder:
    """A folder with a .env that the test writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **settings: str) -> None:
        (self.path / ".env").write_text("".join(f"{key}={value!r}\n" for key, value in settings.items()))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def database(service: Running) -> Database:
    return service.runtime.get(Databases)["default"]


async def test_limits_and_the_query_log_are_taken_over(folder: Folder, postgres_dsn: str) -> None:
    folder.write(DATABASE_DSN=postgres_dsn, DATABASE_MAX_OPEN_CONNS="5", DATABASE_LOG_LEVEL="off")
    async with running(plugins=["db"], folder=folder.path) as service:
        assert database(service).limits.max_open == 5
        folder.write(DATABASE_DSN=postgres_dsn, DATABASE_MAX_OPEN_CONNS="3", DATABASE_LOG_LEVEL="info")
        result = await service.runtime.reload()
        assert (result.outcome, set(result.changed)) == ("applied", {"DATABASE_MAX_OPEN_CONNS", "DATABASE_LOG_LEVEL"})
        assert database(service).limits.max_open == 3
        instruments = database(service)._instruments
        assert instruments is not None
        assert instruments.log.level == "info"


async def test_new_credentials_are_used_for_new_connections(folder: Folder, postgres_dsn: str) -> None:
    folder.write(DATABASE_DSN=postgres_dsn)
    async with running(plugins=["db"], folder=folder.path) as service:
        db = database(service)
        other = postgres_dsn.replace("postgres@", "root:any%20thing@")
        folder.write(DATABASE_DSN=other)
        assert (await service.runtime.reload()).outcome == "applied"
        db.pools[0].renew()
        found = (await db.run(db.peewee.execute_sql, "SELECT current_user")).fetchone()
        assert found == ("root",)


@pytest.mark.parametrize("change", ["database", "host"])
async def test_another_database_takes_a_restart(folder: Folder, postgres_dsn: str, change: str) -> None:
    folder.write(DATABASE_DSN=postgres_dsn)
    async with running(plugins=["db"], folder=folder.path) as service:
        other = f"{postgres_dsn}_other" if change == "database" else postgres_dsn.replace("127.0.0.1", "localhost")
        folder.write(DATABASE_DSN=other)
        result = await service.runtime.reload()
        assert result.outcome == "refused"
        assert str(result.error) == (
            "The DSN of the database default names another one than the one that is open. A reload changes user and "
            "password only; restart to use another database."
        )
        assert await database(service).run(int) == 0


async def test_replicas_take_over_new_credentials(folder: Folder, postgres_dsn: str) -> None:
    folder.write(DATABASE_DSN=postgres_dsn, DATABASE_REPLICA_DSNS=postgres_dsn)
    async with running(plugins=["db"], folder=folder.path) as service:
        other = postgres_dsn.replace("postgres@", "root@")
        folder.write(DATABASE_DSN=postgres_dsn, DATABASE_REPLICA_DSNS=other)
        assert (await service.runtime.reload()).outcome == "applied"
        (replica,) = database(service).reader.replicas
        if replica.is_open:
            replica.pools[0].renew()
        else:
            await replica.open()
        assert (await replica.run(replica.peewee.execute_sql, "SELECT current_user")).fetchone() == ("root",)
        folder.write(DATABASE_DSN=postgres_dsn)
        result = await service.runtime.reload()
        assert result.outcome == "refused"
        assert "other replicas" in str(result.error)


async def test_times_are_taken_over_and_connections_follow(folder: Folder, postgres_dsn: str) -> None:
    folder.write(DATABASE_DSN=postgres_dsn, DATABASE_REPLICA_DSNS=postgres_dsn)
    async with running(plugins=["db"], folder=folder.path) as service:
        db = database(service)

        async def limit_of_the_server() -> str:
            row = (await db.run(db.peewee.execute_sql, "SHOW statement_timeout")).fetchone()
            return str(row[0])

        assert await limit_of_the_server() == "30s"
        folder.write(
            DATABASE_DSN=postgres_dsn,
            DATABASE_REPLICA_DSNS=postgres_dsn,
            DATABASE_STATEMENT_TIMEOUT="7s",
            DATABASE_ACQUIRE_TIMEOUT="3s",
            DATABASE_CONNECT_TIMEOUT="4s",
            DATABASE_CONN_MAX_LIFETIME="60s",
            DATABASE_CONN_MAX_IDLE_TIME="50s",
            DATABASE_IDLE_CHECK_INTERVAL="1s",
            DATABASE_MIN_CONNS="1",
            DATABASE_SLOW_QUERY="2s",
        )
        result = await service.runtime.reload()
        assert (result.outcome, len(result.changed), set(result.pending)) == ("applied", 8, set())
        for one in (db, *db.reader.replicas):
            assert (one.server_limits.connect, one.server_limits.statement, one.server_limits.query) == (4, 7, 12)
            limits = one.limits
            assert (limits.acquire_timeout, limits.lifetime, limits.idle_time) == (3, 60, 50)
            assert (limits.idle_check, limits.min_open, limits.query_timeout) == (1, 1, 12)
        assert await limit_of_the_server() == "7s"


class Overlaid:
    """A plugin that lays something over the environment before the database opens."""

    def __init__(self, **values: str) -> None:
        self._values = values

    @hookimpl
    def init_infra(self, runtime: Runtime) -> Initializer[None]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[None]:
            assert (await runtime.overlay("map", [Layer("ConfigMap", self._values)])).outcome == "applied"
            yield

        return Initializer(name="map", open=opened)


async def test_what_changes_before_it_opens_counts(folder: Folder) -> None:
    folder.write(DATABASE_DSN="sqlite:///app.db")
    plugins = [Overlaid(DATABASE_MAX_OPEN_CONNS="7"), "db"]
    async with running(plugins=plugins, folder=folder.path) as service:
        assert database(service).limits.max_open == 7


async def test_what_changes_while_it_opens_counts(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    runtimes: list[Runtime] = []
    preparing = prepare.prepare_schema

    class App:
        @hookimpl
        def register_services(self, runtime: Runtime) -> None:
            runtimes.append(runtime)

    async def slow(*args: Any, **options: Any) -> object:
        await runtimes[0].overlay("map", [Layer("ConfigMap", {"DATABASE_MAX_OPEN_CONNS": "7"})])
        return await preparing(*args, **options)

    monkeypatch.setattr(prepare, "prepare_schema", slow)
    folder.write(DATABASE_DSN="sqlite:///app.db")
    async with running(App(), plugins=["db"], folder=folder.path) as service:
        assert database(service).limits.max_open == 7


class Files:
    """The TLS files of a client, which rotate."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.ca, self.certificate, self.key = folder / "ca.pem", folder / "client.crt", folder / "client.key"
        shutil.copyfile(certificates.authority, self.ca)
        shutil.copyfile(certificates.client.certificate, self.certificate)
        shutil.copyfile(certificates.client.key, self.key)
        self.key.chmod(0o600)

    @property
    def serial(self) -> int:
        return load_pem_x509_certificate(self.certificate.read_bytes()).serial_number

    def settings(self, dsn: str) -> dict[str, str]:
        return {
            "DATABASE_DSN": dsn,
            "DATABASE_TLS": "verify-full",
            "DATABASE_TLS_CA": str(self.ca),
            "DATABASE_TLS_CERTIFICATE": str(self.certificate),
            "DATABASE_TLS_KEY": str(self.key),
        }


async def test_a_rotated_certificate_is_shown_by_new_connections(folder: Folder, certificates: Certificates) -> None:
    files = Files(folder.path, certificates)
    with postgres_server(tls=certificates, tls_mode="client") as server:
        folder.write(**files.settings(server.dsn()))
        async with running(plugins=["db"], folder=folder.path) as service:
            db = database(service)

            async def shown() -> int:
                sql = "SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
                return int((await db.run(db.peewee.execute_sql, sql)).fetchone()[0])

            assert await shown() == files.serial
            before = files.serial
            shutil.copyfile(certificates.server.certificate, files.certificate)
            result = await service.runtime.reload()
            assert result.outcome == "refused"
            assert str(result.error) == (
                "The TLS files of the database default cannot be used as they are now: key values mismatch."
            )
            shutil.copyfile(certificates.server.key, files.key)
            result = await service.runtime.reload()
            assert (result.outcome, set(result.changed), set(result.pending)) == (
                "applied",
                {"DATABASE_TLS_CERTIFICATE", "DATABASE_TLS_KEY"},
                set(),
            )
            db.pools[0].renew()
            assert await shown() == files.serial != before


async def test_another_authority_counts_for_new_connections(folder: Folder, certificates: Certificates) -> None:
    files = Files(folder.path, certificates)
    with mariadb_server(tls=certificates, tls_mode="client") as server:
        folder.write(**files.settings(server.dsn()))
        async with running(plugins=["db"], folder=folder.path) as service:
            db = database(service)
            shutil.copyfile(certificates.other_authority, files.ca)
            assert set((await service.runtime.reload()).changed) == {"DATABASE_TLS_CA"}
            assert await db.run(int) == 0, "open connections stay"
            db.pools[0].renew()
            with pytest.raises(DatabaseUnavailable):
                await db.run(int)


async def test_another_file_takes_a_restart(folder: Folder, certificates: Certificates) -> None:
    files = Files(folder.path, certificates)
    with postgres_server(tls=certificates) as server:
        settings = files.settings(server.dsn())
        folder.write(**settings)
        async with running(plugins=["db"], folder=folder.path) as service:
            folder.write(**settings | {"DATABASE_TLS_CA": str(certificates.authority)})
            result = await service.runtime.reload()
            assert (result.outcome, set(result.pending)) == ("unchanged", {"DATABASE_TLS_CA"})
