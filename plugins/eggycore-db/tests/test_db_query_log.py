"""Which queries are logged, and that their parameters never are; on every kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import peewee
import pytest

from eggycore import log
from eggycore.log.options import FileOutput, Options
from eggycore.log.pipeline import PIPELINE
from eggycore.metrics import Registry
from eggycore_db import Database, Model
from eggycore_db.instruments import Instruments, QueryLog

SECRET = "hunter2-value"


class Form(Model):
    title = peewee.CharField(unique=True)


@pytest.fixture
def log_lines(tmp_path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Reads the lines that were logged so far."""
    path = tmp_path / "service.log"
    PIPELINE.start("debug", "json", Options(outputs=(FileOutput(path=path),)), service="orders", environment="test")

    def read() -> list[dict[str, Any]]:
        assert log.flush(10.0)
        return [orjson.loads(line) for line in path.read_bytes().splitlines()]

    yield read
    log.close(10.0)


@asynccontextmanager
async def logging(dsn: str, rules: QueryLog, metrics: Registry | None = None) -> AsyncIterator[Database]:
    async with Database(dsn, instruments=Instruments(metrics).of("orders", QueryLog(level="off"))) as db:
        await db.run(db.peewee.create_tables, [Form])
        db.set_query_log(rules)
        yield db


def make_twice() -> None:
    Form.create(title=SECRET)
    with pytest.raises(peewee.IntegrityError):
        Form.create(title=SECRET)


@pytest.mark.parametrize(
    ("rules", "messages"),
    [
        (QueryLog(level="off", slow=1e-9), []),
        (QueryLog(level="error", slow=1e-9), ["a query failed"]),
        (QueryLog(level="warn", slow=1e-9), ["a query was slow", "a query failed"]),
        (QueryLog(level="warn", slow=0.0), ["a query failed"]),
        (QueryLog(level="info", slow=0.0), ["query", "a query failed"]),
        (QueryLog(level="info", slow=1e-9), ["a query was slow", "a query failed"]),
    ],
)
async def test_what_is_logged_goes_by_the_level_and_holds_no_values(
    dsn: str, rules: QueryLog, messages: list[str], log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    async with logging(dsn, rules) as db:
        await db.run(make_twice)
        captured = log_lines()
        lines = [line for line in captured if line.get("database") == "orders"]
        assert [line["message"] for line in lines] == messages
        assert SECRET not in repr(captured)
        for line in lines:
            assert line["sql"].upper().startswith("INSERT INTO")
            assert line["seconds"] >= 0
        failed = [line for line in lines if line["message"] == "a query failed"]
        assert [line["error"] for line in failed] == ["IntegrityError"] * len(failed)


async def test_durations_and_waits_are_measured(dsn: str) -> None:
    metrics = Registry()
    async with logging(dsn, QueryLog(level="off"), metrics) as db:
        await db.create(Form, title="a")
        await db.list(Form.select())
        await db.execute(Form.update(title="b"))
        await db.execute(Form.delete())
        async with db.transaction():
            await db.create(Form, title="c")
    (family,) = [family for family in metrics.collect() if family.name == "db_query_duration_seconds"]
    counts = {sample.labels[1]: sample.buckets[-1][1] for sample in family.samples if sample.labels[0] == "orders"}
    assert (counts["insert"], counts["update"], counts["delete"]) == (2, 1, 1)
    assert counts["select"] >= 1
