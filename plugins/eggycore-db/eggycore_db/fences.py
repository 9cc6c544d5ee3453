"""Fences: a write of a leader that another one has followed is refused, however late it comes.

A process that was paused may believe that it leads a moment after another has won. So each term has a token that is
greater than those before, and a fence remembers the greatest it has seen. It is looked at, and locked, in the very
transaction that writes: the database decides which of two leaders comes too late, whatever their clocks say.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError
from eggycore_db.current import get_db
from eggycore_db.sql import row_of, run_sql

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["FENCE_TABLE", "FenceOutsideTransaction", "Fenced", "fence", "pass_fence"]

FENCE_TABLE = "eggycore_fences"

_TABLE = f"CREATE TABLE IF NOT EXISTS {FENCE_TABLE} (name VARCHAR(190) NOT NULL PRIMARY KEY, token BIGINT NOT NULL)"

_MAKING = int.from_bytes(hashlib.sha256(b"eggycore fences").digest()[:8], "big", signed=True)

# The row is written first, so that it is locked before it is read, and no two transactions wait for each other.
_RAISE = {
    "sqlite": f"INSERT INTO {FENCE_TABLE} (name, token) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET token = max(token, excluded.token)",
    "postgresql": f"INSERT INTO {FENCE_TABLE} AS fence (name, token) VALUES (%s, %s)"
    " ON CONFLICT (name) DO UPDATE SET token = greatest(fence.token, excluded.token)",
    "mysql": f"INSERT INTO {FENCE_TABLE} (name, token) VALUES (%s, %s)"
    " ON DUPLICATE KEY UPDATE token = greatest(token, VALUES(token))",
}


@dataclass(eq=False)
class Fenced(EggycoreError):
    """A leader wanted to write after a later one had.

    Args:
        name: What the fence is called.
        token: The token it came with.
        seen: The greater one that has been seen.
    """

    name: str
    token: int
    seen: int


@diagnose.register
def _(error: Fenced) -> Diagnosis:
    return Diagnosis(
        description=f"What this process wanted to write as the leader of {error.name!r} comes too late.",
        cause=f"Its term has the token {error.token}, and a leader with the token {error.seen} has written since.",
        action="Nothing was written: let the transaction fail. Where no such leader can have been (a cluster was"
        f" restored from a backup), delete the row: DELETE FROM {FENCE_TABLE} WHERE name = '{error.name}'",
    )


@dataclass(eq=False)
class FenceOutsideTransaction(EggycoreError):
    """A fence was passed outside a transaction, so that it would keep nobody from what follows."""

    name: str


@diagnose.register
def _(error: FenceOutsideTransaction) -> Diagnosis:
    return Diagnosis(
        description=f"The fence {error.name!r} was passed outside a transaction.",
        cause="It holds until the end of the transaction in which it is passed; without one it keeps nobody out.",
        action="Put it and the writes into one `async with db.transaction():`, or `with db.atomic():` in a function.",
    )


def fence(name: str, token: int) -> None:
    """Go on only if no leader of a later term has been here; in a transaction of a function given to `Database.run`.

    Until the end of the transaction no other passes the fence of this name.

    Args:
        name: What the leader leads, up to 190 characters; made when it is passed first.
        token: Of the term, as it was when the work began: up to 63 bits.

    Raises:
        Fenced: One has been; let it end the transaction.
        FenceOutsideTransaction: No transaction is open.
    """
    pass_fence(get_db(), name, token)


def pass_fence(database: Database, name: str, token: int) -> None:
    """The same for this database; in one of its workers."""
    db = database.peewee
    if not db.in_transaction():
        raise FenceOutsideTransaction(name)
    if not database.has_fences:
        _make_table(database)
    run_sql(db, _RAISE[database.kind], (name, token))
    mark = "?" if database.kind == "sqlite" else "%s"
    seen = int(row_of(db, f"SELECT token FROM {FENCE_TABLE} WHERE name = {mark}", (name,))[0])
    if seen > token:
        raise Fenced(name, token, seen)


def _make_table(database: Database) -> None:
    """Make the table if need be: on a connection of its own, as making one would end MySQL's transaction.

    SQLite has one that writes, and takes the table back with the transaction.
    """
    db: Any = database.peewee
    if database.kind == "sqlite":
        run_sql(db, _TABLE)
        return
    if not db.table_exists(FENCE_TABLE):
        with closing(db._connect()) as connection, closing(connection.cursor()) as cursor:
            if database.kind == "postgresql":  # where two that make one table at once are not told apart
                cursor.execute("SELECT pg_advisory_lock(%s)", (_MAKING,))
            cursor.execute(_TABLE)
            connection.commit()
    database.has_fences = True
