"""What a configuration that changes means for open databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eggycore import current
from eggycore.errors import ConfigRefused
from eggycore_db.databases import Databases, settings_by_name
from eggycore_db.initializer import pool_limits, query_log
from eggycore_db.targets import ServerTarget, Target

if TYPE_CHECKING:
    from eggycore.types import Change

__all__ = ["check", "take_over"]


def check(change: Change) -> None:
    """Refuse a change that no open connection could follow.

    Raises:
        ConfigRefused: A DSN names another database, or other databases are named.
    """
    old, new = settings_by_name(change.old), settings_by_name(change.new)
    if list(old) != list(new):
        raise ConfigRefused("Other databases than those that are open are named; restart to use them.")
    for name, settings in new.items():
        if _place(old[name].target()) != _place(settings.target()):
            raise ConfigRefused(
                f"The DSN of the database {name} names another one than the one that is open. A reload changes user "
                "and password only; restart to use another database."
            )
        if _places(old[name].replica_targets()) != _places(settings.replica_targets()):
            raise ConfigRefused(
                f"DATABASE_REPLICA_DSNS names other replicas of the database {name} than those that are read. A reload "
                "changes user and password only; restart to use other replicas."
            )


def _places(targets: tuple[Target, ...]) -> list[tuple[object, ...]]:
    return [_place(target) for target in targets]


def take_over(change: Change) -> None:
    """Give every open database its credentials, its limits and its query log."""
    databases = current().get(Databases)
    for name, settings in settings_by_name(change.new).items():
        if name not in databases:  # it is being opened
            continue
        database = databases[name]
        database.set_credentials(settings.target())
        for replica, target in zip(database.reader.replicas, settings.replica_targets(), strict=True):
            replica.set_credentials(target)
        database.resize(pool_limits(settings))
        database.set_query_log(query_log(settings))


def _place(target: Target) -> tuple[object, ...]:
    """What a target says except for the credentials."""
    if isinstance(target, ServerTarget):
        return target.kind, target.host, target.port, target.socket, target.name, target.tls, dict(target.options)
    return (target.path,)
