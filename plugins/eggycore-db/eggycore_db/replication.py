"""How far a replica is behind its primary, as the replica sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eggycore_db.engine import EngineKind

__all__ = ["lag_of"]

# A standby that has replayed all it has received is not behind, however long ago the last transaction was.
_POSTGRESQL = """
SELECT CASE
    WHEN NOT pg_is_in_recovery() THEN 0
    WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE EXTRACT(EPOCH FROM now() - pg_last_xact_replay_timestamp())
END
"""


def lag_of(database: Any, kind: EngineKind) -> float | None:
    """Seconds behind; None when it does not replicate. In a worker of the replica.

    MySQL and MariaDB tell it to users with the privilege REPLICATION CLIENT (SLAVE MONITOR in MariaDB).
    """
    if kind == "sqlite":
        return 0.0
    if kind == "postgresql":
        seconds = database.execute_sql(_POSTGRESQL).fetchone()[0]
        return float(seconds) if seconds is not None else None
    return _lag_of_mysql(database)


def _lag_of_mysql(database: Any) -> float | None:
    cursor: Any = database.execute_sql("SHOW SLAVE STATUS")
    row = cursor.fetchone()
    if row is None:
        return 0.0  # it replicates nothing, so it is a primary
    seconds = dict(zip((column[0] for column in cursor.description), row, strict=True))["Seconds_Behind_Master"]
    return float(seconds) if seconds is not None else None
