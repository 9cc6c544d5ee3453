"""Plans of batches: which columns a row of these names is written to, and by which statement."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import peewee

from eggycore_db.bulk_errors import BulkRefused
from eggycore_db.bulk_rows import Shape, Unwritable
from eggycore_db.bulk_statements import Inserting, Updating
from eggycore_db.bulk_writing import Plan, Planner, Writing
from eggycore_db.engine import Engine

__all__ = ["Fields", "inserting", "updating", "upserting"]

Fields: TypeAlias = "Sequence[str | peewee.Field]"


def inserting(engine: Engine, model: type[peewee.Model]) -> Writing:
    """Insert."""
    return Writing(engine, model, _planner(engine, model, (), None), in_order=False)


def upserting(engine: Engine, model: type[peewee.Model], conflict: Fields, update: Fields | None) -> Writing:
    """Insert, or update what is there; by the primary key when `conflict` is empty.

    Raises:
        BulkRefused: A field is not the model's, or there is no key.
    """
    keys = _fields(model, conflict) or _primary_key(model)
    chosen = None if update is None else _fields(model, update)
    return Writing(engine, model, _planner(engine, model, keys, chosen), in_order=True)


def updating(engine: Engine, model: type[peewee.Model], fields: Fields | None, by: Fields) -> Writing:
    """Update; found by the primary key when `by` is empty.

    Raises:
        BulkRefused: As in `upserting`; or a field is both written and searched by, or none is written.
    """
    keys = _fields(model, by) or _primary_key(model)
    chosen = None if fields is None else _fields(model, fields)
    if chosen is not None and not chosen:
        raise BulkRefused(
            model.__name__,
            "is to be updated in no field",
            "The list of fields is empty.",
            "Name a field, or leave the list out for all that a row has.",
        )
    searched = {field.name for field in keys}  # by name: peewee's fields make SQL of "=="
    for field in chosen or ():
        if field.name in searched:
            raise BulkRefused(
                model.__name__,
                f"is to be updated in {field.name} and searched by it",
                "Rows are found by the values that they have before.",
                f"Leave {field.name} out of fields or out of by.",
            )

    def plan(names: tuple[Any, ...]) -> Plan:
        by_name = _by_name(model, names)
        for field in (*keys, *(chosen or ())):
            if field.name not in by_name:
                raise Unwritable(f"it has no {field.name}")
        written = chosen or [field for field in _in_order(model, by_name) if field.name not in searched]
        if not written:
            raise Unwritable("it has nothing to update")
        fields = (*written, *keys)
        statement = Updating(engine.peewee, engine.kind, model, written, keys)
        shape = Shape(fields, tuple(by_name[field.name] for field in fields), frozenset(by_name))
        return Plan(shape, statement, keys=tuple(range(len(written), len(fields))))

    return Writing(engine, model, plan, in_order=True)


def _planner(
    engine: Engine, model: type[peewee.Model], conflict: Sequence[Any], update: Sequence[Any] | None
) -> Planner:
    meta: Any = model._meta
    auto = meta.primary_key.name if meta.auto_increment else ""
    searched = {field.name for field in conflict}

    def plan(names: tuple[Any, ...]) -> Plan:
        by_name = _by_name(model, names)
        sources: dict[str, str | Callable[[], Any]] = {}
        for field in meta.sorted_fields:
            if field.name in by_name:
                sources[field.name] = by_name[field.name]
            elif field.default is not None:
                sources[field.name] = field.default if callable(field.default) else _always(field.default)
        if not sources:
            raise Unwritable("it has no values")
        fields = _in_order(model, sources)
        written = update if update is not None else _in_order(model, by_name.keys() - searched)
        shape = Shape(tuple(fields), tuple(sources[field.name] for field in fields), frozenset(by_name))
        keys = tuple(place for place, field in enumerate(fields) if field.name in searched)
        statement = Inserting(engine.peewee, engine.kind, model, shape, conflict, written)
        return Plan(shape, statement, keys=keys, auto=by_name.get(auto, ""))

    return plan


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


def _by_name(model: type[peewee.Model], names: Iterable[Any]) -> dict[str, str]:
    """The names in the row by the names of the fields; a field may also be called by its column.

    Raises:
        Unwritable: There is no such field, or it is there twice.
    """
    known: dict[str, Any] = model._meta.combined
    found: dict[str, str] = {}
    for name in names:
        if isinstance(name, peewee.Field):
            raise Unwritable(f"its names are to be text, and {name.name} is a field")
        if (field := known.get(name)) is None:
            raise Unwritable(f"{model.__name__} has no field {name!r}"[:200])
        if field.name in found:
            raise Unwritable(f"it has {field.name} twice, as {found[field.name]} and as {name}")
        found[field.name] = name
    return found


def _in_order(model: type[peewee.Model], names: Iterable[str]) -> list[Any]:
    wanted = set(names)
    return [field for field in model._meta.sorted_fields if field.name in wanted]


def _fields(model: type[peewee.Model], named: Fields) -> list[Any]:
    if isinstance(named, str | peewee.Field):
        named = (named,)
    return [_field(model, one) for one in named]


def _field(model: type[peewee.Model], named: str | peewee.Field) -> Any:
    known: dict[str, Any] = model._meta.combined
    name = named if isinstance(named, str) else named.name
    if (field := known.get(name)) is not None:
        return field
    near = difflib.get_close_matches(name, list(known), 1)
    names = ", ".join(field.name for field in model._meta.sorted_fields)
    raise BulkRefused(
        model.__name__,
        f"has no field {name}",
        f"Its fields are {names}.",
        f"Write {near[0]}." if near else "Name one of them.",
    )


def _primary_key(model: type[peewee.Model]) -> list[Any]:
    key = model._meta.primary_key
    if not key:
        raise BulkRefused(
            model.__name__,
            "has no primary key",
            "It is what rows are found by when no fields are named.",
            "Name the fields that a row is found by.",
        )
    return [model._meta.fields[name] for name in key.field_names] if model._meta.composite_key else [key]
