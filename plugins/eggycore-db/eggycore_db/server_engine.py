"""What the engines of both kinds of server have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import eggycore_db.drivers  # noqa: F401  # before peewee is imported

import peewee  # isort: skip

from eggycore_db.server import ServerLimits, Wire
from eggycore_db.targets import ServerTarget

__all__ = ["ServerEngine"]


class ServerEngine:
    """One database on a server.

    Args:
        target: Where it is, and who connects.
        database: The peewee database, which connects in worker threads only.
        limits: Timeouts and the name to connect under.
        writes: Whether it has to take writes; a replica has not.
    """

    def __init__(
        self, target: ServerTarget, database: peewee.Database, *, limits: ServerLimits, writes: bool = True
    ) -> None:
        self._target = target
        self._limits = limits
        self._writes = writes
        self._wire = Wire()
        self._peewee: Any = database  # much of what is used of it has no types

    @property
    def peewee(self) -> peewee.Database:
        """The peewee database, whose connection is that of the thread that asks."""
        database: peewee.Database = self._peewee
        return database

    @property
    def location(self) -> str:
        """Where it is, without secrets; in any thread."""
        return self._target.location

    @property
    def statement_limit(self) -> float:
        """Seconds that the server lets a statement run, 0 for no limit; in any thread."""
        return self._limits.statement

    def look(self) -> None:
        """There is nothing to see from outside."""

    def set_credentials(self, target: ServerTarget) -> None:
        """Connect from now on as this user; in any thread."""
        self._target = replace(self._target, user=target.user, password=target.password)

    def set_limits(self, limits: ServerLimits) -> None:
        """Connect from now on with other timeouts; in any thread."""
        self._limits = limits
