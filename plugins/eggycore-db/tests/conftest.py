"""Databases and models for the tests of eggycore-db."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from eggycore_db import Database
from eggycore_db.pool import PoolLimits
from eggycore_db.repository import REGISTERED


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's database file is, or will be."""
    return tmp_path / "test.db"


@pytest.fixture
async def db(path: Path) -> AsyncIterator[Database]:
    """An open database in a file of its own."""
    async with Database(f"sqlite:///{path}") as database:
        yield database


@pytest.fixture(params=["file", "memory", "one connection"])
async def any_db(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Database]:
    """An open database of each shape: in a file, in memory, and limited to one connection."""
    dsn = "sqlite:///:memory:" if request.param == "memory" else f"sqlite:///{path}"
    limits = PoolLimits(max_open=1) if request.param == "one connection" else PoolLimits()
    async with Database(dsn, pool=limits) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def dsn(request: pytest.FixtureRequest, path: Path) -> str:
    """Where an empty database of each kind is."""
    if request.param == "sqlite":
        return f"sqlite:///{path}"
    found: str = request.getfixturevalue("postgres_dsn" if request.param == "postgresql" else "mariadb_dsn")
    return found


@pytest.fixture
async def every_db(dsn: str) -> AsyncIterator[Database]:
    """An open and empty database of each kind."""
    async with Database(dsn) as database:
        yield database


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """None is registered at first: the sample app's tests may run in this process. The test's own are forgotten."""
    before = dict(REGISTERED._owners)
    REGISTERED._owners.clear()
    yield
    REGISTERED._owners.clear()
    REGISTERED._owners.update(before)


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder of somebody else's, seen as a user without privileges; its content is made before `as_nobody`."""
    folder = Path(tempfile.mkdtemp(prefix="eggycore-db-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def as_nobody(foreign_folder: Path) -> Iterator[Path]:
    """The foreign folder, which this process may read and not write, even where the tests run as root."""
    foreign_folder.chmod(0o555)
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(65534)
    try:
        yield foreign_folder
    finally:
        if privileged:
            os.seteuid(0)
