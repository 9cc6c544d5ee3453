"""The base class of models, bound to whichever database is meant where a query runs."""

from __future__ import annotations

from typing import Any, Self, cast

import eggycore_db.drivers  # noqa: F401  # before peewee is imported

import peewee  # isort: skip

from eggycore_db.current import get_db, here
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
    `Database`: `await db.list(Form.select())`. Inside a function given to `Database.run`, `create` and `get_by_id`
    run SQL that is built once, as `db.create(Form, ...)` and `db.get(Form, key)` do.
    """

    class Meta:
        database = CURRENT

    @classmethod
    def create(cls, **query: Any) -> Self:
        """Insert a row and return it with its key; in a worker."""
        if here.database is None or cls._meta.database is not CURRENT:
            plain: Self = super().create(**query)
            return plain
        row: Self = here.database.statements.create(here.database.peewee, cls, query)
        return row

    @classmethod
    def get_by_id(cls, pk: Any) -> Self:
        """The row with this key, or `DoesNotExist`; in a worker."""
        if here.database is None or cls._meta.database is not CURRENT:
            plain: Self = super().get_by_id(pk)
            return plain
        row: Self = here.database.statements.get(here.database.peewee, cls, pk)
        return row


PLAIN_CREATES = frozenset(
    (vars(peewee.Model)["create"].__func__, vars(Model)["create"].__func__),
)
"""What `create` of a model is that has none of its own."""
