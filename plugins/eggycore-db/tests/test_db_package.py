"""The package: what importing it costs, and what it measures."""

from __future__ import annotations

import subprocess
import sys

import pytest

import eggycore_db
from eggycore.metrics import Registry
from eggycore_db import Database
from eggycore_db.instruments import Instruments, QueryLog, operation


def modules_after(code: str) -> set[str]:
    script = f"import sys; {code}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_peewee_nor_the_plugin() -> None:
    loaded = modules_after("import eggycore_db")
    assert not loaded & {"peewee", "sqlite3", "asyncio", "eggycore.config", "eggycore_db.plugin"}


def test_declaring_the_settings_does_not_load_peewee() -> None:
    loaded = modules_after("import eggycore_db.plugin as plugin; plugin.register_settings()")
    assert not loaded & {"peewee", "sqlite3", "aiohttp"}


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(getattr(eggycore_db, name) is not None for name in eggycore_db.__all__)
    assert eggycore_db.__all__ == sorted(eggycore_db.__all__)
    assert dir(eggycore_db) == sorted([*eggycore_db.__all__, "__version__"])
    with pytest.raises(AttributeError, match="module 'eggycore_db' has no attribute 'nothing'"):
        _ = eggycore_db.nothing


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ('SELECT "t1"."id"', "select"),
        ("insert into t", "insert"),
        ("UPDATE t", "update"),
        ("DELETE FROM t", "delete"),
        ("BEGIN", "other"),
        ("BEGIN;INSERT INTO t", "insert"),
        ("PRAGMA user_version", "other"),
        ("", "other"),
    ],
)
def test_the_operation_is_the_first_word(sql: str, name: str) -> None:
    assert operation(sql) == name


async def test_queries_are_measured_by_operation() -> None:
    metrics = Registry()
    async with Database("sqlite:///:memory:", instruments=Instruments(metrics).of("default", QueryLog())) as db:
        await db.run(db.peewee.execute_sql, "CREATE TABLE t (c)")
        for value in range(3):
            await db.run(db.peewee.execute_sql, "INSERT INTO t VALUES (?)", (value,))
    (family,) = [family for family in metrics.collect() if family.name == "db_query_duration_seconds"]
    counts = {sample.labels: sample.buckets[-1][1] for sample in family.samples}
    assert counts["default", "insert"] == 3
    assert counts["default", "other"] == 1
