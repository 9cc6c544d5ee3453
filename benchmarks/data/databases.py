"""Databases of one run, with a table of forms: on the servers at their standard ports, and in a file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.data.contenders.measured import FORM, ROWS

__all__ = ["mariadb", "postgresql", "sqlite"]

NAME = f"eggycore_benchmark_{os.getpid()}"

POSTGRESQL = os.environ.get("BENCHMARK_POSTGRESQL", "postgres@127.0.0.1:5432")
MARIADB = os.environ.get("BENCHMARK_MARIADB", "root@127.0.0.1:3306")
"""Who connects where: user:password@host:port. The user has to be allowed to make a database."""

_FORM = """CREATE TABLE form (
    id {key}, title VARCHAR(200) NOT NULL, description TEXT NOT NULL,
    version INTEGER NOT NULL, created_at {time} NOT NULL
)"""


@contextmanager
def postgresql() -> Iterator[str]:
    """A database of PostgreSQL: user, host and name of its URL, without the scheme."""
    import psycopg2

    with closing(psycopg2.connect(f"postgresql://{POSTGRESQL}/postgres")) as server:
        server.autocommit = True
        cursor = server.cursor()
        cursor.execute(f"CREATE DATABASE {NAME}")
        try:
            with closing(psycopg2.connect(f"postgresql://{POSTGRESQL}/{NAME}")) as connection:
                _fill(connection, key="SERIAL PRIMARY KEY", time="TIMESTAMP", mark="%s")
            yield f"{POSTGRESQL}/{NAME}"
        finally:
            cursor.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


@contextmanager
def mariadb() -> Iterator[str]:
    """A database of MariaDB: user, host and name of its URL, without the scheme."""
    import pymysql

    account, _, address = MARIADB.rpartition("@")
    user, _, password = account.partition(":")
    host, _, port = address.partition(":")
    with closing(pymysql.connect(user=user, password=password, host=host, port=int(port or 3306))) as server:
        cursor = server.cursor()
        cursor.execute(f"CREATE DATABASE {NAME}")
        try:
            server.select_db(NAME)
            _fill(server, key="INTEGER AUTO_INCREMENT PRIMARY KEY", time="DATETIME(6)", mark="%s")
            yield f"{MARIADB}/{NAME}"
        finally:
            cursor.execute(f"DROP DATABASE {NAME}")


@contextmanager
def sqlite() -> Iterator[str]:
    """A database of SQLite: its file's absolute path."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "forms.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            _fill(connection, key="INTEGER PRIMARY KEY", time="DATETIME", mark="?")
        yield str(path)


def _fill(connection: Any, *, key: str, time: str, mark: str) -> None:
    """Make the table, with the rows that are read."""
    cursor = connection.cursor()
    cursor.execute(_FORM.format(key=key, time=time))
    values = [str(value) if isinstance(value, datetime) else value for value in FORM.values()]
    insert = f"INSERT INTO form ({', '.join(FORM)}) VALUES ({', '.join([mark] * len(FORM))})"
    cursor.executemany(insert, [values] * ROWS)
    connection.commit()
