"""What the pytest plugin gives to a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.infra.clients import on_mariadb, on_postgres
from tests.servers import MemcachedServer, RedisServer

TESTS_WITHOUT_THEIR_SERVER = """
import pytest
from tests.servers import ServerMissing

@pytest.fixture(scope="session")
def server():
    raise ServerMissing("postgres", "postgresql")

def test_it(server):
    pass

def test_itself():
    raise ServerMissing("postgres", "postgresql")
"""
A_TEST_ON_ANOTHER_MACHINE = """
from tests.servers import fixtures

fixtures.POSTGRES = fixtures.POSTGRES.replace(":5432/", ":1/")
fixtures.MARIADB = fixtures.MARIADB.replace(":3306/", ":1/")
fixtures.REDIS = fixtures.REDIS.replace(":6379/", ":1/")

def test_it(postgres_dsn, mariadb_dsn, redis_url, redis_prefix):
    assert not any(port in postgres_dsn + mariadb_dsn + redis_url for port in (":5432/", ":3306/", ":6379/"))
"""
SAID = "postgres is not installed. Install it: sudo apt-get install postgresql (Debian)."


def test_databases_are_fresh_ones(postgres_dsn: str, mariadb_dsn: str) -> None:
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = "
    assert on_postgres(postgres_dsn, tables + "'public'") == [(0,)]
    assert on_mariadb(mariadb_dsn, tables + "database()") == ((0,),)


def test_caches_are_empty(own_redis: RedisServer, memcached_server: MemcachedServer, memcached_address: str) -> None:
    assert own_redis.execute("DBSIZE") == 0
    assert memcached_server.address == memcached_address


def test_a_prefix_is_for_one_test(redis_url: str, redis_prefix: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.set(f"{redis_prefix}a", "1")


@pytest.mark.parametrize(("ci", "outcome"), [("", "2 skipped"), ("true", "1 failed, 1 error")])
def test_a_missing_server_skips_and_fails_in_ci(ci: str, outcome: str, tmp_path: Path) -> None:
    printed = _pytest(tmp_path, TESTS_WITHOUT_THEIR_SERVER, CI=ci)
    assert outcome in printed
    assert SAID in printed


def test_where_no_server_runs_at_its_standard_port_the_fixtures_start_their_own(tmp_path: Path) -> None:
    assert "1 passed" in _pytest(tmp_path, A_TEST_ON_ANOTHER_MACHINE, CI="true")


def _pytest(folder: Path, test: str, **environ: str) -> str:
    """What pytest prints about a test of a project that loads our plugins."""
    (folder / "test_it.py").write_text(test)
    plugins = ["-p", "tests.leaks", "-p", "tests.servers.fixtures", "-p", "no:cacheprovider"]
    words = [sys.executable, "-m", "pytest", *plugins, "-rsfE", "."]
    done = subprocess.run(words, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True)
    return done.stdout
