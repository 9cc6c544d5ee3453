"""The databases' metrics and query log: how long queries take, what is slow, and what the connections do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from eggycore import log

if TYPE_CHECKING:
    from peewee import QueryEvent

    from eggycore.metrics import Registry
    from eggycore_db.pool import Pool

__all__ = ["Instruments", "LogLevel", "QueryInstruments", "QueryLog"]

LogLevel: TypeAlias = Literal["off", "error", "warn", "info"]

OPERATIONS = frozenset({"select", "insert", "update", "delete"})

LONGEST_SQL = 2000
"""Characters of a statement that a log line shows."""


@dataclass(frozen=True, kw_only=True)
class QueryLog:
    """Which queries are logged; never with their parameters.

    Args:
        level: "error": those that failed; "warn": slow ones too; "info": all.
        slow: Seconds from which on a query is slow; 0 for never.
    """

    level: LogLevel = "warn"
    slow: float = 1.0


class Instruments:
    """The series of every database of a runtime.

    Args:
        metrics: Where they are declared; nothing is measured when None.
    """

    def __init__(self, metrics: Registry | None = None) -> None:
        self._pools: dict[str, Callable[[], tuple[Pool, ...]]] = {}
        self._metrics = metrics
        if metrics is None:
            return
        names = ("database",)
        metrics.gauge("db_connections_open", "Connections that are open.", names, self._each("open_connections"))
        metrics.gauge("db_connections_in_use", "Connections that are in use.", names, self._each("in_use"))
        metrics.gauge("db_jobs_waiting", "Units of work that wait for a connection.", names, self._each("waiting"))
        self._seconds = metrics.histogram(
            "db_query_duration_seconds",
            "Seconds that a query took in the database driver.",
            labels=("database", "operation"),
        )
        self._waits = metrics.histogram(
            "db_connection_wait_seconds", "Seconds that work waited for a connection, when it had to.", names
        )

    def of(self, database: str, query_log: QueryLog) -> QueryInstruments:
        """Those of one database."""
        if self._metrics is None:
            return QueryInstruments(database, query_log, {}, None)
        observe: dict[str, Callable[[float], None]] = {
            name: self._seconds.labels(database, name).observe for name in (*OPERATIONS, "other")
        }
        return QueryInstruments(database, query_log, observe, self._waits.labels(database).observe)

    def watch(self, database: str, pools: Callable[[], tuple[Pool, ...]]) -> None:
        """Show the connections of this database from now on."""
        self._pools[database] = pools

    def _each(self, attribute: str) -> Callable[[], dict[tuple[str, ...], float]]:
        def read() -> dict[tuple[str, ...], float]:
            return {
                (name,): float(sum(getattr(pool, attribute) for pool in pools())) for name, pools in self._pools.items()
            }

        return read


class QueryInstruments:
    """What one database is measured and logged by; called in its worker threads.

    Args:
        database: Its name.
        log: Which queries are logged; may be replaced at any time.
        observe: Takes the seconds of a query, by operation.
        waited: Takes the seconds that work waited for a connection.
    """

    def __init__(
        self,
        database: str,
        log: QueryLog,
        observe: dict[str, Callable[[float], None]],
        waited: Callable[[float], None] | None,
    ) -> None:
        self.log = log
        self.waited = waited
        self._database = database
        self._observe = observe

    def query(self, event: QueryEvent) -> None:
        """Take one query; a hook of peewee's."""
        if self._observe:
            self._observe[operation(event.sql)](event.duration)
        rules = self.log
        if event.exception is not None:
            if rules.level != "off":
                self._say(log.warn, "a query failed", event, error=type(event.exception).__name__)
        elif rules.slow and event.duration >= rules.slow and rules.level in ("warn", "info"):
            self._say(log.warn, "a query was slow", event)
        elif rules.level == "info":
            self._say(log.info, "query", event)

    def _say(self, say: Callable[..., None], message: str, event: QueryEvent, **more: object) -> None:
        sql = " ".join(event.sql.split())[:LONGEST_SQL]
        say(message, database=self._database, sql=sql, seconds=round(event.duration, 6), **more)


def operation(sql: str) -> str:
    """The statement's first word if it is select, insert, update or delete, else "other"."""
    word = sql.removeprefix("BEGIN;")[:6].lower()
    return word if word in OPERATIONS else "other"
