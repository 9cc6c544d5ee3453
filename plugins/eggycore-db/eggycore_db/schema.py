"""What the models of registered repositories have and the database lacks, what is added, and what else differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import peewee
from playhouse.schema_diff import IndexDiff, SchemaDiff, diff_models  # type: ignore[import-untyped]  # it has no types

from eggycore_db.column_types import declared_type, default_in_sql, same_type
from eggycore_db.errors import TableNotMade
from eggycore_db.migrator import MySQLMigrator, SchemaMigrator
from eggycore_db.repository import owner_name
from eggycore_db.sql import row_of

if TYPE_CHECKING:
    from eggycore_db.repository import TableOwner

__all__ = ["Addition", "Comparison", "add_missing", "compare", "models_of", "needs_work"]


@dataclass(frozen=True, kw_only=True)
class Addition:
    """Something that a model has and the database lacks, and that can be made without harm.

    Args:
        kind: What it is.
        subject: Its name, for people: "form", "form.title", "form (title, owner_id)".
        table: The table it belongs to.
        make: Makes it.
    """

    kind: Literal["column", "index", "table"]
    subject: str
    table: str
    make: Callable[[peewee.Database], object]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a database differs from the models.

    Args:
        additions: What can be added to it, in this order.
        differences: What else differs; a person has to decide.
        diff: The same as playhouse sees it, for `migrations.template`.
    """

    additions: tuple[Addition, ...] = ()
    differences: tuple[str, ...] = ()
    diff: SchemaDiff = field(default_factory=lambda: SchemaDiff([], [], [], [], []))

    def __bool__(self) -> bool:
        return bool(self.additions or self.differences)


def models_of(owners: Iterable[TableOwner]) -> tuple[type[peewee.Model], ...]:
    """The models of those owners that have one."""
    models = (getattr(owner, "model", None) for owner in owners)
    return tuple(model for model in models if model is not None)


def compare(db: peewee.Database, owners: Iterable[TableOwner]) -> Comparison:
    """Compare a database with the models of these owners. Reads only."""
    models = models_of(owners)
    diff = diff_models(db, models)
    additions: list[Addition] = [_table(model) for model in diff.create_tables]
    differences: list[str] = []
    refused: set[tuple[str, str]] = set()
    for column in diff.add_columns:
        found = _column(db, column)
        if isinstance(found, Addition):
            additions.append(found)
        else:
            differences.append(found)
            refused.add((column.model._meta.table_name, column.column_name))
    for found in _indexes(models, diff, refused):
        if isinstance(found, Addition):
            additions.append(found)
        else:
            differences.append(found)
    there = [model for model in models if model not in diff.create_tables]
    for model in there:
        differences.extend(_changed_columns(db, model))
    differences.extend(f"{table}.{name} is in the database and not in the model" for table, name in diff.drop_columns)
    differences.extend(_extra_index(index) for index in diff.drop_indexes)
    return Comparison(additions=tuple(additions), differences=tuple(differences), diff=diff)


def needs_work(comparison: Comparison, owners: tuple[TableOwner, ...]) -> bool:
    """Whether `add_missing` would have something to do: something is missing, or an owner makes its table itself."""
    return bool(comparison.additions) or any(map(_makes_its_own, owners))


def add_missing(db: peewee.Database, owners: tuple[TableOwner, ...]) -> tuple[str, ...]:
    """Add what is missing: tables, columns, indexes. All or nothing, but on MySQL, where what was made stays.

    Owners with an `init_table` of their own are asked to make their table every time. The caller holds the
    migrations' lock on this connection.

    Returns:
        What was added.

    Raises:
        TableNotMade: Something could not be made.
    """
    by_table = {owner.table_name: owner for owner in owners}
    with _transaction(db):
        additions = compare(db, [owner for owner in owners if not _makes_its_own(owner)]).additions
        for addition in additions:
            with _told(by_table[addition.table]):
                addition.make(db)
        for owner in filter(_makes_its_own, owners):
            with _told(owner):
                owner.init_table(db)
    return tuple(map(str, additions))


class _told:  # noqa: N801  # it is used like a function
    """What the database says about an owner's table becomes TableNotMade."""

    def __init__(self, owner: TableOwner) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, peewee.PeeweeException):
            raise TableNotMade(self._owner.table_name, owner_name(self._owner), str(error)) from error


def _transaction(db: peewee.Database) -> AbstractContextManager[object]:
    return nullcontext() if isinstance(db, peewee.MySQLDatabase) else db.atomic()


def _makes_its_own(owner: TableOwner) -> bool:
    from eggycore_db.repository import Repository

    return not isinstance(owner, Repository) or type(owner).init_table is not Repository.init_table


def _table(model: type[peewee.Model]) -> Addition:
    name = str(model._meta.table_name)

    def make(db: peewee.Database) -> None:
        peewee.SchemaManager(model, db).create_all(safe=True)

    return Addition(kind="table", subject=name, table=name, make=make)


def _column(db: peewee.Database, field: peewee.Field) -> Addition | str:
    """The making of a missing column, or why it is not made."""
    table, name = str(field.model._meta.table_name), field.column_name
    default = default_in_sql(db, field)
    if field.primary_key:
        return f"{table}.{name} is missing and cannot be added: it belongs to the primary key"
    if not field.null and default is None and not _has_default(field):
        if isinstance(db, peewee.SqliteDatabase) or _has_rows(db, table):
            return (
                f"{table}.{name} is missing and cannot be added: it may not be null, and has no default that could be"
                " written in SQL"
            )
    elif not field.null and field.unique and _has_rows(db, table):
        return f"{table}.{name} is missing and cannot be added: it is unique, and every row would get the same default"
    make = partial(_add_column, field=field, default=None if field.null else default)
    return Addition(kind="column", subject=f"{table}.{name}", table=table, make=make)


def _add_column(db: peewee.Database, field: peewee.Field, default: str | None) -> None:
    """Add the column in one statement; a default stays in the table, for older versions that do not fill it."""
    migrator: Any = SchemaMigrator.from_database(db, schema=field.model._meta.schema)
    table, copy = field.model._meta.table_name, field.clone()
    if default is not None:
        copy.constraints = [*(copy.constraints or ()), peewee.SQL(f"DEFAULT {default}")]
    migrator.migrate(migrator.alter_add_column(table, field.column_name, copy, allow_not_null=True))
    if isinstance(field, peewee.ForeignKeyField) and isinstance(migrator, MySQLMigrator):
        target = field.rel_model._meta
        migrator.migrate(
            migrator.add_foreign_key_constraint(
                table,
                field.column_name,
                target.table_name,
                field.rel_field.column_name,
                field.on_delete,
                field.on_update,
            )
        )


def _indexes(
    models: tuple[type[peewee.Model], ...], diff: SchemaDiff, refused: set[tuple[str, str]]
) -> Iterator[Addition | str]:
    """The making of missing indexes, each as its model declares it; none on a column that is refused."""
    taken = {(index.table, index.name) for index in diff.drop_indexes}
    missing = {(index.table, index.columns, index.unique, index.name) for index in diff.add_indexes}
    for model in models:
        table = str(model._meta.table_name)
        declared: list[Any] = model._meta.fields_to_index()
        for index in declared:
            if not hasattr(index, "_expressions"):
                continue  # SQL of the app's own, which is not looked into
            parts = index._expressions
            columns = tuple(part.column_name for part in parts if isinstance(part, peewee.Field))
            if any((table, column) in refused for column in columns):
                continue
            plain = (table, columns, bool(index._unique), None) in missing and len(columns) == len(parts)
            if plain or (table, None, None, index._name) in missing:
                subject = f"{table} ({', '.join(columns)})" if plain else f"{table}.{index._name}"
                if (table, index._name) in taken:
                    yield f"index {subject} is missing, and its name {index._name} is taken by the one in the database"
                    continue
                yield Addition(kind="index", subject=subject, table=table, make=partial(_make_index, model, index))


def _make_index(model: type[peewee.Model], index: Any, db: peewee.Database) -> None:
    untyped: Any = db
    manager: Any = peewee.SchemaManager(model, db)
    untyped.execute(manager._create_index(index, False))  # has no public name for one index with all its options


def _changed_columns(db: peewee.Database, model: type[peewee.Model]) -> Iterator[str]:
    meta = model._meta
    fields = {field.column_name: field for field in meta.sorted_fields}
    for column in db.get_columns(meta.table_name, meta.schema):
        field = fields.get(column.name)
        if field is None:
            continue
        where, declared, found = f"{meta.table_name}.{column.name}", declared_type(db, field), column.full_type or ""
        if not same_type(declared, found):
            yield f"{where} is {found.lower()} in the database and {declared.lower()} in the model"
        if not field.primary_key and column.null != field.null:
            may, may_not = ("database", "model") if column.null else ("model", "database")
            yield f"{where} may be null in the {may} and not in the {may_not}"


def _extra_index(index: IndexDiff) -> str:
    columns = f" ({', '.join(index.columns)})" if index.columns else ""
    return f"{index.table} has an index {index.name}{columns} that is not in the model"


def _has_default(field: peewee.Field) -> bool:
    """Whether the column's own constraints give it a default."""
    return any("DEFAULT" in str(getattr(constraint, "sql", "")).upper() for constraint in field.constraints or ())


def _has_rows(db: peewee.Database, table: str) -> bool:
    query: Any = db.get_sql_context()
    sql, params = query.sql(peewee.Table(table).select(peewee.SQL("1")).limit(1)).query()
    return row_of(db, sql, params) is not None
