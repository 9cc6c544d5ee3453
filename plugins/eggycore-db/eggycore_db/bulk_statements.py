"""The SQL of batches: one statement for many rows of one shape, its text built once for each number of rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import peewee

from eggycore_db.bulk_copy import copied
from eggycore_db.bulk_rows import Shape
from eggycore_db.engine import EngineKind
from eggycore_db.sql import observed, row_of, run_sql

__all__ = ["Inserting", "Statement", "Updating"]

TEXTS_KEPT = 8
"""Texts of one statement that are kept, by number of rows: most batches have one size, the last one another."""

ROWS_PER_CASE = 100
"""Rows that one UPDATE of MySQL changes: it looks for each row's values one after another."""

RowValues: TypeAlias = Sequence[Any]


class Statement(Protocol):
    """Writes rows of one shape. Called in a worker thread, inside a transaction."""

    fast: bool
    """Whether it may take a way that refuses what another way may take: cleared when that has happened."""
    distinct: bool
    """Whether no two rows of one call may have the same key."""

    def write(self, rows: Sequence[RowValues], *, fast: bool) -> Sequence[int]:
        """Write them, all or none; the places of those that met no row. Raises what peewee or the driver raises."""


class Inserting:
    """INSERT of several rows, or COPY; with what becomes of rows that are there already.

    Args:
        database: The peewee database.
        kind: Whose SQL it speaks.
        model: Where the rows go.
        shape: Their columns.
        conflict: Fields by which a row is there already; none for a plain insert.
        update: Fields that are written then.
    """

    def __init__(
        self,
        database: Any,
        kind: EngineKind,
        model: type[peewee.Model],
        shape: Shape,
        conflict: Sequence[peewee.Field] = (),
        update: Sequence[peewee.Field] = (),
    ) -> None:
        self._database = database
        self._kind = kind
        self._table = _quoted(database, model._meta.entity)
        columns = [_column(database, field) for field in shape.fields]
        self._columns = f"({', '.join(columns)})"
        self._row = f"({', '.join(_place(kind, field) for field in shape.fields)})"
        self._tail = _on_conflict(database, kind, conflict, update, columns) if conflict else ""
        self.fast = kind == "postgresql" and not conflict
        self.distinct = kind == "postgresql" and bool(conflict)
        self._text = lru_cache(TEXTS_KEPT)(self._build)

    def write(self, rows: Sequence[RowValues], *, fast: bool) -> Sequence[int]:
        if self._kind == "sqlite":
            _many(self._database, self._text(1), rows)
        elif self._kind == "mysql":
            self._spelled_out(rows)
        elif not (fast and self._copy(rows)):
            run_sql(self._database, self._text(len(rows)), _flat(rows))
        return ()

    def _build(self, rows: int) -> str:
        return f"INSERT INTO {self._table} {self._columns} VALUES {', '.join([self._row] * rows)}{self._tail}"

    def _spelled_out(self, rows: Sequence[RowValues]) -> None:
        """Insert them with their values in the text, which nobody else sees."""
        from eggycore_db.bulk_literals import value_lists

        connection, shown = self._database.connection(), self._text(1)
        before = f"INSERT INTO {self._table} {self._columns} VALUES ".replace("%%", "%")
        after = self._tail.replace("%%", "%")
        most = _largest_packet(self._database) - len(before.encode()) - len(after.encode()) - 64
        for values in value_lists(connection, rows, most):
            with observed(self._database, shown), connection.cursor() as cursor:
                cursor.execute(f"{before}{values}{after}")

    def _copy(self, rows: Sequence[RowValues]) -> bool:
        """COPY them; whether it knows how to send every value."""
        connection = self._database.connection()
        if connection.async_ or (text := copied(list(map(list, zip(*rows, strict=True))))) is None:
            return False  # psycopg2 copies on blocking connections only
        sql = f"COPY {self._table} {self._columns} FROM STDIN".replace("%%", "%")  # it has no parameters
        if connection.info.transaction_status == 0:  # BEGIN is sent with the next statement, which cannot be a COPY
            run_sql(self._database, "SELECT 1")
        with observed(self._database, sql), connection.cursor() as cursor:
            cursor.copy_expert(sql, io.StringIO(text))
        return True


class Updating:
    """UPDATE of several rows, each to values of its own, found by key fields.

    Args:
        database: The peewee database.
        kind: Whose SQL it speaks.
        model: Where the rows are.
        fields: What is written, in the order of the rows' values.
        keys: What they are found by; their values come after those of `fields`.
    """

    fast = False

    def __init__(
        self,
        database: Any,
        kind: EngineKind,
        model: type[peewee.Model],
        fields: Sequence[peewee.Field],
        keys: Sequence[peewee.Field],
    ) -> None:
        self._database = database
        self._kind = kind
        self._fields = fields
        self._keys = keys
        self._table = _quoted(database, model._meta.entity)
        self._set = [_column(database, field) for field in fields]
        self._by = [_column(database, field) for field in keys]
        self._types: list[str] = []
        self.distinct = kind != "sqlite"
        self._text = lru_cache(TEXTS_KEPT)(self._of_postgresql if kind == "postgresql" else self._of_mysql)
        self._found = lru_cache(TEXTS_KEPT)(self._find)

    def write(self, rows: Sequence[RowValues], *, fast: bool) -> Sequence[int]:
        if self._kind == "sqlite":
            return self._one_by_one(rows)
        return self._in_postgresql(rows) if self._kind == "postgresql" else self._in_mysql(rows)

    def _one_by_one(self, rows: Sequence[RowValues]) -> Sequence[int]:
        sets = ", ".join(
            f"{column} = {_place('sqlite', field)}" for column, field in zip(self._set, self._fields, strict=True)
        )
        sql = f"UPDATE {self._table} SET {sets} WHERE {' AND '.join(f'{key} = ?' for key in self._by)}"
        cursor = self._database.cursor()
        with observed(self._database, sql):
            return [place for place, row in enumerate(rows) if cursor.execute(sql, row).rowcount == 0]

    def _in_postgresql(self, rows: Sequence[RowValues]) -> Sequence[int]:
        if not self._types:
            self._types = self._look_at_types()
        parameters = [value for place, row in enumerate(rows) for value in (place, *row)]
        found = {row[0] for row in run_sql(self._database, self._text(len(rows)), parameters).fetchall()}
        return [place for place in range(len(rows)) if place not in found] if len(found) < len(rows) else ()

    def _of_postgresql(self, rows: int) -> str:
        new = [f"c{number}" for number in range(len(self._types))]
        row = f"(%s, {', '.join(f'%s::{name}' for name in self._types)})"
        sets = ", ".join(f"{column} = new.{name}" for column, name in zip(self._set, new, strict=False))
        where = " AND ".join(
            f"old.{key} = new.{name}" for key, name in zip(self._by, new[len(self._set) :], strict=True)
        )
        return (
            f"UPDATE {self._table} AS old SET {sets} FROM (VALUES {', '.join([row] * rows)}) "
            f"AS new (place, {', '.join(new)}) WHERE {where} RETURNING new.place"
        )

    def _look_at_types(self) -> list[str]:
        """The columns' types without their lengths: a cast to a length cuts off, an assignment refuses."""
        sql = "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s"
        names: list[Any] = [field.column_name for field in (*self._fields, *self._keys)]
        found = [row_of(self._database, sql, (self._table.replace("%%", "%"), name)) for name in names]
        if None in found:  # the statement that follows says which
            return ["text"] * len(names)
        return [row[0] for row in found]

    def _in_mysql(self, rows: Sequence[RowValues]) -> Sequence[int]:
        missing: list[int] = []
        start = 0
        for some in _fitting(self._database, rows, self._text):
            keys = [row[len(self._set) :] for row in some]
            changes = [
                value for number in range(len(self._set)) for row, key in zip(some, keys, strict=True)
                for value in (*key, row[number])
            ]  # fmt: skip
            changed = run_sql(self._database, self._text(len(some)), [*changes, *_flat(keys)]).rowcount
            if changed < len(some):  # it counts rows that became different, not those that are there
                ask = [value for place, key in enumerate(keys) for value in (*key, place)]
                cursor = run_sql(self._database, self._found(len(some)), [*ask, *_flat(keys)])
                found = {int(row[0]) for row in cursor.fetchall()}
                missing += [start + place for place in range(len(some)) if place not in found]
            start += len(some)
        return missing

    def _of_mysql(self, rows: int) -> str:
        sets = ", ".join(f"{column} = {self._case(rows)} ELSE {column} END" for column in self._set)
        return f"UPDATE {self._table} SET {sets} WHERE {self._among(rows)}"

    def _find(self, rows: int) -> str:
        return f"SELECT {self._case(rows)} END FROM {self._table} WHERE {self._among(rows)}"

    def _case(self, rows: int) -> str:
        when = " AND ".join(f"{key} = %s" for key in self._by)
        return f"CASE {' '.join([f'WHEN {when} THEN %s'] * rows)}"

    def _among(self, rows: int) -> str:
        row = f"({', '.join(['%s'] * len(self._by))})" if len(self._by) > 1 else "%s"
        left = f"({', '.join(self._by)})" if len(self._by) > 1 else self._by[0]
        return f"{left} IN ({', '.join([row] * rows)})"


def _fitting(database: Any, rows: Sequence[RowValues], text: Callable[[int], str]) -> Iterator[Sequence[RowValues]]:
    """The rows in parts of a CASE, of which each fits into what MySQL takes at once.

    Raises:
        ValueError: One row does not, alone.
    """
    limit = _largest_packet(database) - len(text(1)) - 64
    for start in range(0, len(rows), ROWS_PER_CASE):
        yield from _halved(rows[start : start + ROWS_PER_CASE], limit, len(text(2)) - len(text(1)))


def _halved(rows: Sequence[RowValues], limit: int, overhead: int) -> Iterator[Sequence[RowValues]]:
    size = sum(map(_most_bytes, rows)) + len(rows) * overhead
    if size <= limit:
        yield rows
    elif len(rows) > 1:
        middle = len(rows) // 2
        yield from _halved(rows[:middle], limit, overhead)
        yield from _halved(rows[middle:], limit, overhead)
    else:
        least = sum(len(value.encode() if isinstance(value, str) else value) for value in _long(rows[0]))
        if least > limit:
            raise ValueError(f"the row has {least} bytes, and the server takes {limit} at once (max_allowed_packet)")
        yield rows


def _most_bytes(row: RowValues) -> int:
    """How long a row may be in a statement: a character is four bytes at the most, an escaped byte two."""
    return 32 * len(row) + sum(len(value) * (4 if type(value) is str else 2) for value in _long(row))


def _long(row: RowValues) -> Iterator[Any]:
    return (value for value in row if type(value) in (str, bytes))


def _largest_packet(database: Any) -> int:
    connection = database.connection()
    known = getattr(connection, "eggycore_largest_packet", None)
    if known is None:
        known = connection.eggycore_largest_packet = int(row_of(database, "SELECT @@max_allowed_packet")[0])
    return int(known)


def _on_conflict(
    database: Any,
    kind: EngineKind,
    conflict: Sequence[peewee.Field],
    update: Sequence[peewee.Field],
    columns: Sequence[str],
) -> str:
    keys = ", ".join(_column(database, field) for field in conflict)
    names = [name for field in update if (name := _column(database, field)) in columns]
    if kind == "mysql":
        first = _column(database, conflict[0])
        sets = ", ".join(f"{name} = VALUES({name})" for name in names) or f"{first} = {first}"
        return f" ON DUPLICATE KEY UPDATE {sets}"
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in names)
    return f" ON CONFLICT ({keys}) DO {f'UPDATE SET {sets}' if sets else 'NOTHING'}"


def _many(database: Any, sql: str, rows: Sequence[RowValues]) -> None:
    with observed(database, sql):
        database.cursor().executemany(sql, rows)


def _quoted(database: Any, entity: Any) -> str:
    sql: str = database.get_sql_context().sql(entity).query()[0]
    return sql.replace("%", "%%") if database.param == "%s" else sql


def _column(database: Any, field: Any) -> str:
    return _quoted(database, peewee.Entity(field.column_name))


def _place(kind: EngineKind, field: peewee.Field) -> str:
    if kind == "sqlite":
        return "json(?)" if isinstance(field, peewee.JSONField) else "?"
    return "%s"


def _flat(rows: Sequence[RowValues]) -> list[Any]:
    return [value for row in rows for value in row]
