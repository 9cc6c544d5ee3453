"""Plain SQL on the connection that a peewee database has in this thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import peewee

__all__ = ["row_of", "run_sql"]


def run_sql(db: peewee.Database, sql: str, params: Sequence[object] = ()) -> Any:
    """Run a statement; returns the driver's cursor."""
    untyped: Any = db  # execute_sql has no types in peewee's stubs
    return untyped.execute_sql(sql, params)


def row_of(db: peewee.Database, sql: str, params: Sequence[object] = ()) -> Any:
    """Run a query; returns its first row, or None."""
    return run_sql(db, sql, params).fetchone()
