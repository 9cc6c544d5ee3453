"""A statement whose text and values are known before a connection is: what the event loop can send by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eggycore_db.sql import run_sql

if TYPE_CHECKING:
    import peewee

__all__ = ["Prepared"]


@dataclass(slots=True)
class Prepared:
    """One statement.

    Args:
        sql: Its text.
        values: Its parameters.
        finish: Makes of the driver's cursor what the caller gets; called once, and does not block.
        begin: What begins the transaction that it belongs to, unless that has begun; "" for a statement by itself.
        observed: Whether it is a query for metrics and the query log.
    """

    sql: str
    values: Sequence[Any]
    finish: Callable[[Any], Any]
    begin: str = ""
    observed: bool = True

    def run(self, database: peewee.Database) -> Any:
        """Run it in a worker, in whatever transaction that one has open."""
        return self.finish(run_sql(database, self.sql, self.values))
