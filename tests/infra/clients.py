"""Plain clients for tests of the servers themselves."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg2
import pymysql

from tests.servers import MariaDBServer, MemcachedServer, PostgresServer, RedisServer, Server


def ask(server: Server) -> str:
    """ "yes" when the server does its work."""
    match server:
        case PostgresServer():
            done = on_postgres(server.dsn(), "SELECT 1") == [(1,)]
        case MariaDBServer():
            done = on_mariadb(server.dsn(), "SELECT 1") == ((1,),)
        case RedisServer():
            done = server.execute("SET", "a", "1") is True
        case MemcachedServer():
            done = server.command("get a") == "END\r\n"
        case _:
            raise TypeError(server)
    return "yes" if done else "no"


def on_postgres(dsn: str, sql: str, values: Sequence[Any] | None = None, **connect: Any) -> list[tuple[Any, ...]]:
    """The rows of one statement, committed."""
    with closing(psycopg2.connect(dsn, connect_timeout=5, **connect)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()


def on_mariadb(dsn: str, sql: str, **connect: Any) -> tuple[tuple[Any, ...], ...]:
    """The rows of one statement, committed."""
    with closing(mariadb_connection(dsn, **connect)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def mariadb_connection(dsn: str, **connect: Any) -> Any:
    """A connection; close it."""
    parts = urlsplit(dsn)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=unquote(parts.password or ""),
        database=parts.path.strip("/"),
        connect_timeout=5,
        read_timeout=5,
        autocommit=True,
        **connect,
    )


def trusting(authority: object) -> ssl.SSLContext:
    """A client's context that trusts one authority and checks host names."""
    return ssl.create_default_context(cafile=str(authority))
