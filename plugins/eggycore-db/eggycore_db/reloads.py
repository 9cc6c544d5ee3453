"""What a configuration that changes means for open databases."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from eggycore import current
from eggycore.errors import ConfigRefused
from eggycore_db.databases import Databases, settings_by_name
from eggycore_db.initializer import pool_limits, query_log, server_limits
from eggycore_db.targets import ServerTarget, Target

if TYPE_CHECKING:
    from eggycore.types import Change
    from eggycore_db.database import Database
    from eggycore_db.settings import DatabaseSettings

__all__ = ["check", "follow", "take_over"]


def check(change: Change) -> None:
    """Refuse a change that no open connection could follow.

    Raises:
        ConfigRefused: A DSN names another database, other databases are named, or files of TLS do not fit together.
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
        _check_tls_files(name, settings, change.keys)


def _check_tls_files(name: str, settings: DatabaseSettings, keys: frozenset[str]) -> None:
    """Refuse files that no connection could be made with, such as a certificate whose key has not come yet."""
    if not any(variable.key in keys for variable in settings.__variables__ if variable.contents):
        return
    for target in (settings.target(), *settings.replica_targets()):
        if isinstance(target, ServerTarget) and target.tls is not None and target.tls.mode != "disable":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                if target.tls.ca is not None:
                    context.load_verify_locations(target.tls.ca)
                if target.tls.certificate is not None:
                    context.load_cert_chain(target.tls.certificate, target.tls.key, password=lambda: "")
            except OSError as error:
                reason = str(getattr(error, "reason", None) or error.strerror or "no PEM file")
                raise ConfigRefused(
                    f"The TLS files of the database {name} cannot be used as they are now: "
                    f"{reason.replace('_', ' ').lower()}."
                ) from error


def _places(targets: tuple[Target, ...]) -> list[tuple[object, ...]]:
    return [_place(target) for target in targets]


def take_over(change: Change) -> None:
    """Have every open database follow the new configuration."""
    if not any(key.startswith("DATABASE") for key in change.keys):
        return
    databases = current().get(Databases)
    opened = set(databases)
    for name, settings in settings_by_name(change.new).items():
        if name in opened:  # else it is opened later, with the settings of that moment
            follow(databases[name], settings)


def follow(database: Database, settings: DatabaseSettings) -> None:
    """Give an open database its credentials, its limits and its query log.

    Args:
        database: It, with the replicas of these settings.
        settings: What the configuration says now.
    """
    for one, target in zip(
        (database, *database.reader.replicas), (settings.target(), *settings.replica_targets()), strict=True
    ):
        one.set_credentials(target)
        one.set_server_limits(server_limits(settings, one.server_limits.application))
        one.resize(pool_limits(settings))
    database.set_query_log(query_log(settings))


def _place(target: Target) -> tuple[object, ...]:
    """What a target says except for the credentials."""
    if isinstance(target, ServerTarget):
        return target.kind, target.host, target.port, target.socket, target.name, target.tls, dict(target.options)
    return (target.path,)
