"""The base class of models, bound to whichever database is meant where a query runs."""

from __future__ import annotations

from typing import Any, cast

import peewee

from eggycore_db.current import get_db
from eggycore_db.errors import NoDatabase

__all__ = ["Model"]


class CurrentDatabase(peewee.DatabaseProxy):
    """Stands for the database of the worker thread that runs the query, so that no model belongs to one runtime.

    Outside a worker it is the database that `get_db` returns, or the one opened last: enough to build a query and
    to know which kind of database it is for, never to run it.
    """

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        object.__setattr__(self, "_callbacks", [])
        object.__setattr__(self, "_latest", None)

    @property
    def obj(self) -> peewee.Database | None:
        try:
            return get_db().peewee
        except NoDatabase:
            return cast("peewee.Database | None", self._latest)

    def announce(self, database: peewee.Database) -> None:
        """Tell fields whose Python type depends on the kind of database (blobs, JSON) which kind it is."""
        object.__setattr__(self, "_latest", database)
        for tell_field in self._callbacks:
            tell_field(database)

    def __getattr__(self, name: str) -> Any:
        if (database := self.obj) is not None:
            return getattr(database, name)
        raise AttributeError(name) if name.startswith("_") else NoDatabase


CURRENT = CurrentDatabase()


class Model(peewee.Model):
    """A peewee model that works on the database of the runtime it is used in.

    Declare fields as in any peewee model; leave `Meta.database` alone. Queries are built anywhere and run through
    `Database`: `await db.list(Form.select())`.
    """

    class Meta:
        database = CURRENT
