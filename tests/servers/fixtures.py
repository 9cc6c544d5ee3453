"""A pytest plugin: databases, caches and a Kubernetes API for one test each. Loaded with `-p` from pyproject.toml.

The servers that run on this machine at their standard ports are used where they let us in; otherwise each worker starts
its own. A test that needs a server of which there is no binary is skipped, and fails where CI=true.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.servers.processes import ServerMissing

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

    from tests.servers import Certificates, MemcachedServer, RedisServer
    from tests.servers.kubernetes import KubernetesAPI

POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
MARIADB = "mysql://root@127.0.0.1:3306/mysql"
REDIS = "redis://127.0.0.1:6379/0"

PATIENCE = 5
"""Seconds for a connection to one of them."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """A fixture may miss a server."""
    return (yield from _skipping())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """A test may miss a server that it starts itself."""
    return (yield from _skipping())


def _skipping() -> Generator[None, None, None]:
    try:
        return (yield)
    except ServerMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority and its certificates, for 127.0.0.1 and localhost."""
    from tests.servers.certificates import Certificates

    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
    """The URL of a PostgreSQL server's database `postgres`, for its superuser."""
    import psycopg2

    from tests.servers.postgres import postgres_server

    with ExitStack() as stack:
        try:
            psycopg2.connect(POSTGRES, connect_timeout=PATIENCE).close()
        except psycopg2.OperationalError:
            yield stack.enter_context(postgres_server()).dsn("postgres")
        else:
            yield POSTGRES


@pytest.fixture
def postgres_dsn(postgres_address: str) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database, which is dropped after the test with whoever is connected."""
    name = _fresh_name()
    _on_postgres(postgres_address, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    yield postgres_address.removesuffix("postgres") + name
    _on_postgres(postgres_address, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def mariadb_address() -> Iterator[str]:
    """The URL of a MariaDB server's database `mysql`, for a user who may do everything."""
    import pymysql

    from tests.servers.mariadb import mariadb_server

    with ExitStack() as stack:
        try:
            _mariadb(MARIADB).close()
        except pymysql.OperationalError:
            yield stack.enter_context(mariadb_server()).dsn("mysql")
        else:
            yield MARIADB


@pytest.fixture
def mariadb_dsn(mariadb_address: str) -> Iterator[str]:
    """The URL of a fresh MariaDB database, which is dropped after the test; whoever is connected is cut off."""
    import pymysql

    name = _fresh_name()
    with closing(_mariadb(mariadb_address)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield mariadb_address.removesuffix("mysql") + name
    with closing(_mariadb(mariadb_address)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", [name])
        for (number,) in cursor.fetchall():
            with suppress(pymysql.OperationalError):  # it has left by itself
                cursor.execute(f"KILL CONNECTION {number}")
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis that other tests use at the same time: keys begin with `redis_prefix`."""
    import redis

    from tests.servers.redis import redis_server

    with ExitStack() as stack:
        try:
            with redis.Redis.from_url(REDIS, socket_connect_timeout=PATIENCE) as client:
                client.ping()
        except (redis.ConnectionError, redis.AuthenticationError):
            yield stack.enter_context(redis_server()).dsn()
        else:
            yield REDIS


@pytest.fixture
def redis_prefix(redis_url: str) -> Iterator[str]:
    """What the keys of this test begin with; they are deleted after it."""
    import redis

    prefix = f"{_fresh_name()}:"
    yield prefix
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{prefix}*", count=1000):
            client.unlink(key)


@pytest.fixture(scope="session")
def own_redis_session() -> Iterator[RedisServer]:
    """One Redis per worker."""
    from tests.servers.redis import redis_server

    with redis_server() as server:
        yield server


@pytest.fixture
def own_redis(own_redis_session: RedisServer) -> RedisServer:
    """An empty Redis that nobody else uses during this test; not to be stopped or paused."""
    own_redis_session.execute("FLUSHALL")
    return own_redis_session


@pytest.fixture(scope="session")
def memcached_session() -> Iterator[MemcachedServer]:
    """One Memcached per worker."""
    from tests.servers.memcached import memcached_server as server

    with server() as running:
        yield running


@pytest.fixture(name="memcached_server")
def own_memcached(memcached_session: MemcachedServer) -> MemcachedServer:
    """An empty Memcached that nobody else uses during this test; not to be stopped or paused."""
    memcached_session.command("flush_all")
    return memcached_session


@pytest.fixture
def memcached_address(memcached_server: MemcachedServer) -> str:
    """host:port of it."""
    return memcached_server.address


@pytest.fixture
def kubernetes_api() -> Iterator[KubernetesAPI]:
    """A Kubernetes API server of the test's own, without TLS."""
    from tests.servers.kubernetes import KubernetesAPI

    with KubernetesAPI() as api:
        yield api


def _fresh_name() -> str:
    return f"eggycore_{uuid.uuid4().hex[:16]}"


def _on_postgres(url: str, sql: str) -> None:
    import psycopg2

    with closing(psycopg2.connect(url, connect_timeout=PATIENCE)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)


def _mariadb(url: str) -> Connection[Cursor]:
    import pymysql

    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=Path(parts.path).name,
        connect_timeout=PATIENCE,
        autocommit=True,
    )
