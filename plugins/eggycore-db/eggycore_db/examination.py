"""What `eggycore doctor` is told about open databases: versions, room for connections, replicas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from eggycore.types import Finding
from eggycore_db.reader import MOST_LAG
from eggycore_db.targets import ServerTarget, Target

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["examine"]

_FACTS = {
    "sqlite": "SELECT sqlite_version(), 0",
    "postgresql": "SELECT current_setting('server_version'), current_setting('max_connections')::int "
    "- current_setting('superuser_reserved_connections')::int "
    "- coalesce(current_setting('reserved_connections', true), '0')::int",
    "mysql": "SELECT @@version, @@max_connections",
}
"""The server's version, and how many connections it gives to users who are not administrators."""

_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL protocol,"}


async def examine(databases: Iterable[Database], replicas: int) -> list[Finding]:
    """Look at every database of a process.

    Args:
        databases: All of them, open.
        replicas: How many such processes are to run at once.
    """
    found: list[Finding] = []
    together = tuple(databases)
    for database in together:
        version, most = await database.read(_facts, database)
        subject = f"database {database.name}"
        found.append(Finding(subject=subject, state="ok", text=f"{_NAMES[database.kind]} {version}."))
        here = [one for one in together if _server(one.target) == _server(database.target)]
        if database.kind != "sqlite" and here[0] is database:
            found.append(_connections(subject, here, replicas, most))
        found += database.findings
        found += [_lag(subject, location, lag) for location, lag in (await database.reader.lags()).items()]
    return found


def _facts(database: Database) -> tuple[str, int]:
    untyped: Any = database.peewee
    version, most = untyped.execute_sql(_FACTS[database.kind]).fetchone()
    return str(version), int(most)


def _connections(subject: str, databases: list[Database], replicas: int, most: int) -> Finding:
    """Whether the pools of all replicas find room on the server of these databases."""
    size = sum(database.limits.max_open for database in databases)
    names = "" if len(databases) == 1 else f" for {', '.join(database.name for database in databases)}"
    times = "1 replica" if replicas == 1 else f"{replicas} replicas"
    sum_ = f"{size} connections{names} times {times} is {size * replicas}, and the server gives {most}."
    if size * replicas <= most:
        return Finding(subject=subject, state="ok", text=sum_)
    return Finding(
        subject=subject,
        state="warning",
        text=sum_,
        action=f"Set DATABASE_MAX_OPEN_CONNS to at most {max(1, most // replicas // len(databases))}, or raise the "
        "server's max_connections.",
    )


def _lag(subject: str, location: str, lag: float | None) -> Finding:
    if lag is None:
        return Finding(
            subject=subject,
            state="warning",
            text=f"The replica {location} does not answer or replicate; the primary is read instead.",
            action="Look at that server, or take it out of DATABASE_REPLICA_DSNS.",
        )
    text = f"The replica {location} is {lag:.0f} s behind."
    if lag > MOST_LAG:
        return Finding(subject=subject, state="warning", text=text, action="Look at its load and network.")
    return Finding(subject=subject, state="ok", text=text)


def _server(target: Target) -> tuple[object, ...]:
    if isinstance(target, ServerTarget):
        return target.kind, target.host, target.port, target.socket
    return (target.path,)
