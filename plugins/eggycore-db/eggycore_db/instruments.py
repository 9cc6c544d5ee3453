"""The database's metrics: how long queries take, and what its connections do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peewee import QueryEvent

    from eggycore.metrics import GaugeChild, Registry

__all__ = ["Instruments"]

OPERATIONS = frozenset({"select", "insert", "update", "delete"})


class Instruments:
    """The series of one database.

    Args:
        metrics: Where they are declared.
        database: The value of their label "database".
    """

    def __init__(self, metrics: Registry, database: str) -> None:
        seconds = metrics.histogram(
            "db_query_duration_seconds",
            "Seconds that a query took in the database driver.",
            labels=("database", "operation"),
        )
        self._observe = {name: seconds.labels(database, name).observe for name in (*OPERATIONS, "other")}

        def gauge(name: str, doc: str) -> GaugeChild:
            return metrics.gauge(name, doc, labels=("database",)).labels(database)

        self.open = gauge("db_connections_open", "Connections that are open.")
        self.in_use = gauge("db_connections_in_use", "Connections that are running something.")
        self.waiting = gauge("db_jobs_waiting", "Units of work that wait for a connection.")

    def query(self, event: QueryEvent) -> None:
        """Take one query into the histogram; a hook of peewee's, called in the worker's thread."""
        self._observe[operation(event.sql)](event.duration)


def operation(sql: str) -> str:
    """The statement's first word if it is select, insert, update or delete, else "other"."""
    word = sql[:6].lower()
    return word if word in OPERATIONS else "other"
