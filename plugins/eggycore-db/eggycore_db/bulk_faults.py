"""Whose fault an error of a batch is: a row's, which costs that row, or anything else, which ends the batch."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

import peewee

from eggycore_db.engine import EngineKind
from eggycore_db.server import driver_error

__all__ = ["RowError", "is_of_a_row", "reason_of", "row_error"]

LONGEST_REASON = 300
"""Characters of what a database says about a row."""


@dataclass(frozen=True)
class RowError:
    """A row that was not written, and why.

    Args:
        index: Its place in what was given, from 0.
        reason: What the database says, its first line, or what is wrong with the row before it gets there.
        code: The database's code: an SQLSTATE, a number of MySQL, a name of SQLite; "" for rows that did not get there.
    """

    index: int
    reason: str
    code: str = ""


_POSTGRESQL = ("21", "22", "23", "44", "P0", "42804", "42846", "54000")
"""SQLSTATEs, or how they begin: met twice, data, constraints, view's check, trigger, types, too large for an index."""

_MYSQL = frozenset(
    (
        *(1048, 1062, 1118, 1139, 1153, 1169, 1216, 1217, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1416, 1451),
        *(1452, 1525, 1557, 1586, 1644, 1690, 1761, 1762, 1859, 3140, 3141, 3156, 3157, 3819, 3903, 4025, 4038),
    )
)
"""NULL, duplicate, size, out of range, truncated, no default, foreign keys, partitions, triggers, JSON, checks."""

_OF_A_VALUE = (ValueError, TypeError, OverflowError, AttributeError)
"""What drivers raise for a value that they cannot send."""


def is_of_a_row(kind: EngineKind, error: BaseException) -> bool:
    """Whether an error of a statement is about the values of a row."""
    if not isinstance(error, peewee.PeeweeException):
        return isinstance(error, _OF_A_VALUE)
    seen: Any = driver_error(error)
    if kind == "postgresql":
        state: str = getattr(seen, "pgcode", None) or ""
        return state.startswith(_POSTGRESQL) if state else "can't adapt" in str(seen)
    if kind == "mysql":
        return isinstance(error, peewee.IntegrityError | peewee.DataError) or code_of(error) in map(str, _MYSQL)
    if isinstance(error, peewee.IntegrityError | peewee.DataError):
        return True
    return any(words in str(seen) for words in ("rror binding parameter", "malformed JSON", "too big"))


def row_error(index: int, error: BaseException) -> RowError:
    """What is told about the row at this place."""
    return RowError(index, reason_of(error), code_of(error))


def reason_of(error: BaseException) -> str:
    """The first line of what an error says: later ones of PostgreSQL's hold values."""
    seen: Any = driver_error(error)
    text = seen.args[1] if len(seen.args) > 1 and isinstance(seen.args[0], int) else str(seen)
    lines = str(text).splitlines()
    return (lines[0].strip() if lines else type(seen).__name__)[:LONGEST_REASON]


def code_of(error: BaseException) -> str:
    """The database's code of an error, "" when it has none."""
    seen: Any = driver_error(error)
    if isinstance(seen, sqlite3.Error):
        return getattr(seen, "sqlite_errorname", "")
    if state := getattr(seen, "pgcode", None):
        return str(state)
    number = seen.args[0] if seen.args else ""
    return str(number) if isinstance(number, int) and isinstance(error, peewee.PeeweeException) else ""
