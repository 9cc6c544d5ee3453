"""`get by id` and `insert in a transaction` beside asyncio's other ways to a relational database.

32 tasks on a pool of 8 connections, which are handed back after every operation; a process and uvloop for everybody.
"""

from __future__ import annotations

from benchmarks.data import databases
from benchmarks.data.contender import OURS, RIVALS, Contender, compare, running
from benchmarks.rows import Row, at_least

TASKS = 32

OPERATIONS = {"get": "get by id", "insert": "insert in a transaction"}


def rows() -> list[Row]:
    """Operations per second, as multiples of the others'; of two drivers the faster one counts."""
    return [*_postgresql(), *_mariadb(), *_sqlite()]


def _postgresql() -> list[Row]:
    with databases.postgresql() as place:
        contenders = [
            _ours(f"postgresql://{place}"),
            _ours(f"postgresql://{place}", "function"),
            _sqlalchemy(f"postgresql+asyncpg://{place}"),
            _sqlalchemy(f"postgresql+psycopg://{place}"),
            Contender("Tortoise, asyncpg", RIVALS, "db_tortoise.py", [f"asyncpg://{place}"]),
        ]
        with running(contenders):
            found = []
            for operation, title in OPERATIONS.items():
                ours, function, *sqlalchemy, tortoise = compare(contenders, operation, TASKS)
                found += [
                    at_least(f"PostgreSQL: {title}, times SQLAlchemy", ours / max(sqlalchemy), 1.5),
                    at_least(f"PostgreSQL: {title}, times Tortoise", ours / tortoise, 1.2),
                ]
            return [
                *found,
                at_least(
                    "PostgreSQL: insert in a function of db.run, times SQLAlchemy", function / max(sqlalchemy), 1.5
                ),
            ]


def _mariadb() -> list[Row]:
    with databases.mariadb() as place:
        urls = [f"mysql+aiomysql://{place}", f"mysql+asyncmy://{place}"]
        return _beside_sqlalchemy("MariaDB", f"mysql://{place}", urls, 1.3)


def _sqlite() -> list[Row]:
    with databases.sqlite() as path:
        return _beside_sqlalchemy("SQLite", f"sqlite:///{path}", [f"sqlite+aiosqlite:///{path}"], 2.0)


def _beside_sqlalchemy(server: str, dsn: str, urls: list[str], bar: float) -> list[Row]:
    contenders = [_ours(dsn), *map(_sqlalchemy, urls)]
    with running(contenders):
        found = []
        for operation, title in OPERATIONS.items():
            ours, *sqlalchemy = compare(contenders, operation, TASKS)
            found.append(at_least(f"{server}: {title}, times SQLAlchemy", ours / max(sqlalchemy), bar))
        return found


def _ours(dsn: str, form: str = "block") -> Contender:
    """eggycore, with transactions as blocks in async code, as the others have them, or in a function for `db.run`."""
    return Contender(f"eggycore, {dsn.partition(':')[0]}, {form}", OURS, "db_eggycore.py", [dsn, form])


def _sqlalchemy(url: str) -> Contender:
    return Contender(f"SQLAlchemy, {url.partition(':')[0]}", RIVALS, "db_sqlalchemy.py", [url])
