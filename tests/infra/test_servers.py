"""The servers that tests start: each comes up, answers, freezes, dies, comes back, and is gone afterwards."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pymysql
import pytest
import redis

from tests.infra.clients import ask, mariadb_connection, on_mariadb, on_postgres
from tests.servers import (
    MemcachedServer,
    Server,
    ServerFailed,
    mariadb_server,
    memcached_server,
    postgres_server,
    redis_server,
    reserved_port,
)
from tests.servers.processes import descendants

Make = Callable[..., AbstractContextManager[Any]]
SERVERS: list[Make] = [postgres_server, mariadb_server, redis_server, memcached_server]

every_server = pytest.mark.parametrize("make", SERVERS)


@every_server
def test_a_server_answers_on_a_port_of_its_own(make: Make) -> None:
    with make() as first, make() as second:
        assert first.port != second.port
        assert ask(first) == ask(second) == "yes"


@every_server
def test_a_server_leaves_no_process_and_no_file(make: Make) -> None:
    with make() as server:
        folder: Path = server.folder
        processes = [server.pid, *descendants(server.pid)]
    assert not folder.exists()
    assert [pid for pid in processes if Path(f"/proc/{pid}").exists()] == []


@every_server
def test_a_killed_server_refuses_and_comes_back_on_its_port(make: Make) -> None:
    with make() as server:
        port = server.port
        server.kill()
        assert not server.running
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, port))
        server.start()
        assert server.port == port
        assert ask(server) == "yes"


@every_server
def test_a_stopped_server_comes_back(make: Make) -> None:
    with make() as server:
        server.stop()
        assert not server.running
        server.start()
        assert ask(server) == "yes"


@every_server
def test_a_paused_server_keeps_its_connections_and_answers_when_it_is_resumed(make: Make) -> None:
    with make() as server:
        server.pause()
        assert all(_state(pid) == "T" for pid in [server.pid, *descendants(server.pid)])
        with socket.create_connection((server.host, server.port), timeout=5) as connection:
            # The kernel takes it for the frozen process, which would greet (MariaDB) or answer nonsense (the others).
            connection.sendall(b"nonsense\r\n\r\n")
            connection.settimeout(0.05)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        server.resume()
        assert ask(server) == "yes"


@every_server
def test_a_paused_server_can_be_killed_and_stopped(make: Make) -> None:
    with make() as server:
        server.pause()
        server.kill()
        server.start()
        server.pause()
        server.stop()
        assert not server.running


@every_server
def test_a_server_that_cannot_start_shows_its_log(make: Make) -> None:
    with (
        reserved_port() as port,
        socket.socket() as taken,
        pytest.raises(ServerFailed, match=r"did not come up:\n(.|\n)*(in use|bind|listen)"),
    ):
        taken.bind((Server.host, port))
        with make(port=port):
            pass


@pytest.mark.parametrize("make", [postgres_server, mariadb_server])
def test_what_a_database_has_written_survives_its_death(make: Make) -> None:
    with make() as server:
        server.execute("CREATE TABLE test.kept (a int)" if make is mariadb_server else "CREATE TABLE kept (a int)")
        server.stop()
        server.start()
        assert server.execute("SELECT * FROM kept", name="test") in ([], ())


def test_options_are_the_server_s_settings() -> None:
    with postgres_server(options={"max_connections": "7"}) as postgres:
        assert postgres.execute("SHOW max_connections") == [("7",)]
    with mariadb_server(options={"max-connections": "11"}) as mariadb:
        assert mariadb.execute("SELECT @@max_connections") == [(11,)]
    with redis_server(options={"maxmemory": "3mb"}) as server:
        assert server.execute("CONFIG", "GET", "maxmemory") == {"maxmemory": str(3 * 1024 * 1024)}
    with memcached_server(options={"m": "8", "no_modern": ""}) as memcached:
        assert f"limit_maxbytes {8 * 1024 * 1024}" in memcached.command("stats")


PASSWORD = "it's a p@ss:w/rd%"


def test_postgres_asks_for_its_password_and_takes_a_new_one() -> None:
    with postgres_server(password=PASSWORD) as server:
        old = server.dsn()
        with closing(psycopg2.connect(old)) as stays:
            server.set_password("another")
            with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                psycopg2.connect(old)
            assert on_postgres(server.dsn(), "SELECT 1") == [(1,)]
            with stays.cursor() as cursor:
                cursor.execute("SELECT 1")


def test_mariadb_asks_for_its_password_and_takes_a_new_one() -> None:
    with mariadb_server(password=PASSWORD) as server:
        old = server.dsn()
        assert on_mariadb(old, "SELECT 1") == ((1,),)
        server.set_password("another")
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            on_mariadb(old, "SELECT 1")
        server.stop()
        server.start()
        assert on_mariadb(server.dsn(), "SELECT 1") == ((1,),)


def test_redis_asks_for_its_password_and_takes_a_new_one() -> None:
    with redis_server(password=PASSWORD) as server:
        old = server.dsn()
        with redis.Redis.from_url(old) as client:
            assert client.ping()
        server.set_password("another")
        with redis.Redis.from_url(old) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        server.stop()
        server.start()
        assert ask(server) == "yes"


def test_memcached_asks_for_its_password() -> None:
    with memcached_server(password="secret") as server:
        assert server.command("get x").startswith("CLIENT_ERROR unauthenticated")
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(b"set x 0 0 13\r\ntester secret\r\n")
            assert connection.recv(64) == b"STORED\r\n"


def test_a_read_only_postgres_answers_reads_and_refuses_writes() -> None:
    with postgres_server() as server:
        server.execute("CREATE TABLE t (a int)")
        server.set_read_only(True)
        assert on_postgres(server.dsn(), "SELECT 1") == [(1,)]
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            on_postgres(server.dsn(), "INSERT INTO t VALUES (1) RETURNING a")
        server.set_read_only(False)
        assert on_postgres(server.dsn(), "INSERT INTO t VALUES (1) RETURNING a") == [(1,)]


def test_a_read_only_mariadb_answers_reads_and_refuses_writes() -> None:
    with mariadb_server() as server:
        server.execute("CREATE TABLE test.t (a int)")
        server.set_read_only(True)
        assert on_mariadb(server.dsn(), "SELECT 1") == ((1,),)
        with pytest.raises(pymysql.OperationalError, match="read-only"):
            on_mariadb(server.dsn(), "INSERT INTO t VALUES (1)")
        server.set_read_only(False)
        on_mariadb(server.dsn(), "INSERT INTO t VALUES (1)")


def test_a_read_only_redis_answers_reads_and_refuses_writes() -> None:
    with redis_server() as server:
        server.set_read_only(True)
        assert server.execute("GET", "a") is None
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            server.execute("SET", "a", "1")
        server.set_read_only(False)
        assert server.execute("SET", "a", "1")


def test_clients_are_disconnected() -> None:
    with postgres_server() as server, closing(psycopg2.connect(server.dsn())) as connection:
        server.disconnect_clients()
        with pytest.raises(psycopg2.OperationalError), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    with mariadb_server() as server, _held(server.dsn()) as held:
        server.disconnect_clients()
        with pytest.raises(pymysql.OperationalError):
            held.ping(reconnect=False)
    with redis_server() as server, server.client() as client:
        client.ping()
        server.disconnect_clients()
        connection = client.connection_pool.get_connection()
        assert client.ping()
        client.connection_pool.release(connection)


def test_a_memcached_s_stats_and_flush() -> None:
    with memcached_server() as server:
        assert isinstance(server, MemcachedServer)
        assert "STAT curr_items 0" in server.command("stats")
        assert server.command("flush_all") == "OK\r\n"


def test_a_reserved_port_is_given_to_nobody_else() -> None:
    with reserved_port() as one, reserved_port() as two, reserved_port() as three:
        assert len({one, two, three}) == 3


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def _held(dsn: str) -> Iterator[Any]:
    connection = mariadb_connection(dsn)
    try:
        yield connection
    finally:
        if connection.open:
            connection.close()
