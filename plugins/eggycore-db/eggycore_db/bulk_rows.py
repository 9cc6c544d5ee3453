"""Turns rows, dicts or models, into columns of values that a driver takes, many at a time."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import peewee

from eggycore_db.engine import EngineKind

__all__ = ["Row", "Shape", "Unwritable", "columns_of", "given_by"]

Row: TypeAlias = "Mapping[str, Any] | peewee.Model"
"""What may be written: values by the names of their fields or columns, or a model."""

_AS_IT_COMES: dict[type[peewee.Field], type] = {
    peewee.AutoField: int,
    peewee.BigAutoField: int,
    peewee.BigIntegerField: int,
    peewee.BooleanField: bool,
    peewee.CharField: str,
    peewee.DateTimeField: datetime.datetime,
    peewee.FloatField: float,
    peewee.IntegerField: int,
    peewee.SmallIntegerField: int,
    peewee.TextField: str,
}
"""Values of exactly this type stay what they are, so that a column of them is not looked at one by one."""

_COLLECTIONS = (dict, list, tuple, set, frozenset)


class Unwritable(Exception):
    """A value that cannot be sent; the text says why."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Which fields rows have, and where the values come from. Rows of one shape go into one statement.

    Args:
        fields: The columns, in the order of the model.
        sources: For each, the key in the row, or a function that makes the default.
        given: Names of the fields that the rows themselves have.
    """

    fields: tuple[peewee.Field, ...]
    sources: tuple[str | Callable[[], Any], ...]
    given: frozenset[str]


def given_by(row: Any, model: type[Any]) -> Mapping[str, Any]:
    """The values of a row by name.

    Raises:
        Unwritable: It is neither a mapping nor of this model.
    """
    if isinstance(row, model):
        row._populate_unsaved_relations(row.__data__)
        data: Mapping[str, Any] = row.__data__
        return data
    if isinstance(row, Mapping):
        return row
    raise Unwritable(f"it is neither a mapping nor a {model.__name__} but a {type(row).__name__}")


def columns_of(shape: Shape, rows: Sequence[Mapping[str, Any]], kind: EngineKind) -> list[list[Any]]:
    """The values of rows of one shape, column by column, as a driver takes them.

    Raises:
        Exception: What a field raises for a value that it cannot convert; Unwritable for one that is no plain value.
    """
    return [
        _converted(field, _taken(source, rows), kind) for field, source in zip(shape.fields, shape.sources, strict=True)
    ]


def _taken(source: str | Callable[[], Any], rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    if isinstance(source, str):
        return [row[source] for row in rows]
    return [source() for _ in rows]


def _converted(field: Any, column: list[Any], kind: EngineKind) -> list[Any]:
    types = set(map(type, column)) - {type(None)}
    if not types:
        return column
    _refuse(filter(_is_sql, types), field, "an SQL expression")
    if isinstance(field, peewee.JSONField):
        return _as_json(field, column)
    if isinstance(field, peewee.BlobField):
        return [value if value is None else _as_bytes(value) for value in column]
    holds = field.rel_field if isinstance(field, peewee.ForeignKeyField) else field
    if types == {_AS_IT_COMES.get(type(holds))}:
        return column
    converted = _each(field, column)
    types = set(map(type, converted))
    _refuse(filter(_is_sql, types), field, "an SQL expression")
    if kind == "mysql":  # PyMySQL would write them into the statement as lists of SQL
        _refuse((one for one in types if issubclass(one, _COLLECTIONS)), field, "a collection")
    return converted


def _as_json(field: Any, column: list[Any]) -> list[str | None]:
    return [value if value is None else field._dumps(value) for value in column]


def _each(field: Any, column: list[Any]) -> list[Any]:
    try:
        return list(map(field.db_value, column))
    except (ValueError, TypeError) as error:
        raise Unwritable(f"{field.name}: {error}") from error


def _refuse(types: Iterable[type], field: Any, what: str) -> None:
    if any(types):
        raise Unwritable(f"{field.name}: {what} cannot be written in a batch")


def _is_sql(kind: type) -> bool:
    return issubclass(kind, peewee.Node) and not issubclass(kind, peewee.Model)


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
