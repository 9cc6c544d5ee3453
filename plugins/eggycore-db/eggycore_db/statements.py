"""SQL that is built once: reading a row by its key and inserting one, which is most of what services do.

peewee builds the text of a query each time it runs, which takes about as long as the database takes to answer. Here
the text is kept by model, and only the values go through the model's fields.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import peewee

from eggycore_db.errors import OutsideWorker
from eggycore_db.prepared import Prepared

__all__ = ["Statements"]

MOST_SHAPES = 64
"""Sets of fields of one model whose insert is kept; code that makes up more of them gets peewee's own."""


SAMPLE = 0
"""In place of a key while the SQL is built."""

_AS_THEY_COME = frozenset(
    (
        peewee.AutoField,
        peewee.BigAutoField,
        peewee.BigIntegerField,
        peewee.CharField,
        peewee.FloatField,
        peewee.IntegerField,
        peewee.SmallIntegerField,
        peewee.TextField,
    )
)
"""Fields whose values every driver returns as they are kept on the model."""

_COUNTED = frozenset((peewee.ModelUpdate, peewee.ModelDelete))
"""Queries of which the number of rows is told."""


class _ByKey:
    """SELECT ... WHERE key = ?, and how a row becomes a model."""

    def __init__(self, model: Any, database: Any) -> None:
        self._model = model
        self._key = model._meta.primary_key
        self._sql, _ = database.get_sql_context().sql(model.select().where(self._key == SAMPLE)).query()
        fields = model._meta.sorted_fields
        self._names = [field.name for field in fields]
        self._convert = [
            (place, field.python_value) for place, field in enumerate(fields) if type(field) not in _AS_THEY_COME
        ]

    def __call__(self, key: Any) -> Prepared:
        return Prepared(self._sql, (self._key.db_value(key),), self._found)

    def _found(self, cursor: Any) -> Any:
        row = cursor.fetchone()
        if row is None:
            raise self._model.DoesNotExist(f"there is no {self._model.__name__} with this key")
        values = list(row)
        for place, convert in self._convert:
            values[place] = convert(values[place])
        found = self._model(__no_default__=1)
        found.__data__.update(zip(self._names, values, strict=True))
        return found


class _Insert:
    """INSERT INTO ... (these fields) VALUES (...), and what becomes of the new row's key."""

    def __init__(self, row: Any, names: list[str], database: Any) -> None:
        model, data = type(row), row.__data__
        fields = [model._meta.fields[name] for name in names]
        query = model.insert({field: data[field.name] for field in fields})
        self._returns_key = database.returning_clause and model._meta.auto_increment
        if self._returns_key:
            query = query.returning(model._meta.primary_key)
        sql, parameters = database.get_sql_context().sql(query).query()
        self._sql = sql
        self._database = database
        self.fits = len(parameters) == len(fields)
        self._values = [(field.name, field.db_value) for field in fields]
        self._auto = model._meta.auto_increment

    def __call__(self, row: Any) -> Prepared:
        data = row.__data__
        return Prepared(self._sql, [value(data[name]) for name, value in self._values], partial(self._made, row))

    def _made(self, row: Any, cursor: Any) -> Any:
        if self._auto and row._pk is None:
            row._pk = cursor.fetchone()[0] if self._returns_key else self._database.last_insert_id(cursor)
        row._dirty.clear()
        return row


class Statements:
    """The statements of one database. Used in any thread; a race builds one twice, and no more."""

    def __init__(self) -> None:
        self._by_key: WeakKeyDictionary[type[peewee.Model], _ByKey | None] = WeakKeyDictionary()
        self._inserts: WeakKeyDictionary[type[peewee.Model], dict[tuple[str, ...], _Insert] | None] = (
            WeakKeyDictionary()
        )
        self._plain: WeakKeyDictionary[type[peewee.Model], bool] = WeakKeyDictionary()

    def get(self, database: peewee.Database, model: type[peewee.Model], key: Any) -> Any:
        """The row with this key; in a worker.

        Raises:
            DoesNotExist: There is none; it is `model.DoesNotExist`.
        """
        if (statement := self._get_of(database, model)) is None:
            return model.select().where(model._meta.primary_key == key).get(database)
        return statement(key).run(database)

    def create(self, database: peewee.Database, model: type[peewee.Model], fields: dict[str, Any]) -> Any:
        """Insert a row; the model with its key; in a worker. A `save` of the model's own is called."""
        known = self._inserts_of(model)
        row: Any = model(**fields)
        if known is not None and (statement := self._insert_of(known, database, row)) is not None:
            statement(row).run(database)
        else:
            row.save(force_insert=True)
        return row

    def prepared_get(self, database: peewee.Database, model: type[peewee.Model], key: Any) -> Prepared | None:
        """What `get` sends; None when code of the model's own has to run in a worker."""
        if not self._runs_no_code(model) or (statement := self._get_of(database, model)) is None:
            return None
        return statement(key)

    def prepared_create(
        self, database: peewee.Database, model: type[peewee.Model], fields: dict[str, Any]
    ) -> Prepared | None:
        """What `create` sends; None when code of the model's own has to run in a worker."""
        if not self._runs_no_code(model) or (known := self._inserts_of(model)) is None:
            return None
        try:
            row = model(**fields)
        except OutsideWorker:  # a default asks the database
            self._plain[model] = False
            return None
        statement = self._insert_of(known, database, row)
        return statement(row) if statement is not None else None

    def prepared_write(self, database: Any, query: Any) -> Prepared | None:
        """What an update or delete sends that returns no rows; None for any other query."""
        if type(query) not in _COUNTED or query._returning or not self._runs_no_code(query.model):
            return None
        sql, values = database.get_sql_context().sql(query).query()
        return Prepared(sql, values, database.rows_affected)

    def _runs_no_code(self, model: Any) -> bool:
        try:
            return self._plain[model]
        except KeyError:
            plain = self._plain[model] = _is_peewees_own(model)
            return plain

    def _get_of(self, database: Any, model: Any) -> _ByKey | None:
        try:
            return self._by_key[model]
        except KeyError:
            statement = self._by_key[model] = _ByKey(model, database) if _is_simple(model) else None
            return statement

    def _inserts_of(self, model: Any) -> dict[tuple[str, ...], _Insert] | None:
        try:
            return self._inserts[model]
        except KeyError:
            known = self._inserts[model] = {} if _is_simple(model) and model.save is peewee.Model.save else None
            return known

    def _insert_of(self, known: dict[tuple[str, ...], _Insert], database: Any, row: Any) -> _Insert | None:
        data = row.__data__
        if row.__rel__:
            row._populate_unsaved_relations(data)
        if any(isinstance(value, peewee.Node) for value in data.values()):
            return None
        key = row._meta.primary_key.name
        shape = tuple(name for name, value in data.items() if name != key or value is not None)
        if (statement := known.get(shape)) is None and shape and len(known) < MOST_SHAPES:
            order = [field.name for field in row._meta.sorted_fields if field.name in shape]
            statement = known[shape] = _Insert(row, order, database)
        return statement if statement is not None and statement.fits else None


def _is_simple(model: type[peewee.Model]) -> bool:
    """Whether a model has one key, and fields whose values are parameters like any other."""
    meta = model._meta
    if not meta.primary_key or meta.composite_key:
        return False
    return all(type(field).to_value is peewee.Field.to_value for field in meta.sorted_fields)


def _is_peewees_own(model: Any) -> bool:
    """Whether neither a field nor `__init__` is somebody's own code, which may take its time or ask the database."""
    return model.__init__ is peewee.Model.__init__ and all(map(_is_peewees_field, model._meta.sorted_fields))


def _is_peewees_field(field: Any) -> bool:
    if isinstance(field, peewee.ForeignKeyField):
        return type(field) is peewee.ForeignKeyField and _is_peewees_field(field.rel_field)
    return type(field).__module__ == "peewee"
