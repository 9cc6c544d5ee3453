"""A configuration that changes under open databases: pool sizes, query log, credentials; and what takes a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from eggycore.testing import Running, running
from eggycore_db import Database
from eggycore_db.databases import Databases


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
