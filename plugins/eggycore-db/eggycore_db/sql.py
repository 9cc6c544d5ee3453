"""Plain SQL on the connection that a peewee database has in this thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import eggycore_db.drivers  # noqa: F401  # before peewee is imported

import peewee  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["as_peewees_error", "observed", "row_of", "run_sql"]

as_peewees_error: Any = vars(peewee)["__exception_wrapper__"]
"""A context in which a driver's error becomes peewee's."""


def run_sql(db: peewee.Database, sql: str, params: Sequence[object] = ()) -> Any:
    """Run a statement; returns the driver's cursor."""
    untyped: Any = db  # execute_sql has no types in peewee's stubs
    return untyped.execute_sql(sql, params)


def row_of(db: peewee.Database, sql: str, params: Sequence[object] = ()) -> Any:
    """Run a query; returns its first row, or None."""
    return run_sql(db, sql, params).fetchone()


class observed:  # noqa: N801  # it is used like a function
    """What happens inside is one query for peewee's hooks, without its values, and has peewee's errors.

    Args:
        database: The peewee database.
        sql: What the hooks get.
        began: When it began, on `time.perf_counter`; now when None.
    """

    def __init__(self, database: Any, sql: str, began: float | None = None) -> None:
        self._database = database
        self._sql = sql
        self._began = time.perf_counter() if began is None else began

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        told = error
        try:
            as_peewees_error.__exit__(kind, error, traceback)
        except peewee.PeeweeException as of_peewees:
            told = of_peewees
            raise
        finally:
            if self._database.query_hooks and (told is None or isinstance(told, Exception)):
                self._database._notify_hooks(self._sql, None, self._began, told)
