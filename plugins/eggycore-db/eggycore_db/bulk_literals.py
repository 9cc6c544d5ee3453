"""Values as they stand in a statement of MySQL's, column by column: PyMySQL looks at each value by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pymysql.constants.SERVER_STATUS import SERVER_STATUS_NO_BACKSLASH_ESCAPES
from pymysql.converters import escape_float, escape_string

__all__ = ["value_lists"]

BETWEEN = "\x1f"
"""Stands between texts that are escaped together; not escaped itself, and hardly ever in a text."""


def value_lists(connection: Any, rows: Sequence[Sequence[Any]], most: int) -> Iterator[str]:
    """What follows VALUES: all rows, or parts of them of which each has `most` bytes at the most.

    Raises:
        ValueError: One row has more, alone.
        Exception: What PyMySQL raises for a value that it cannot send.
    """
    columns = [_literals(connection, column) for column in zip(*rows, strict=True)]
    row = f"({','.join(['%s'] * len(columns))})"
    yield from _joined(connection, [row % values for values in zip(*columns, strict=True)], most)


def _joined(connection: Any, rows: list[str], most: int) -> Iterator[str]:
    text = ",".join(rows)
    if len(text) * 4 <= most or (size := len(text.encode(connection.encoding, "surrogateescape"))) <= most:
        yield text
    elif len(rows) == 1:
        raise ValueError(f"the row has {size} bytes, and the server takes {most} at once (max_allowed_packet)")
    else:
        middle = len(rows) // 2
        yield from _joined(connection, rows[:middle], most)
        yield from _joined(connection, rows[middle:], most)


def _literals(connection: Any, column: Sequence[Any]) -> Sequence[str]:
    types = set(map(type, column))
    if types == {int}:
        return list(map(str, column))
    if types == {str} and not connection.server_status & SERVER_STATUS_NO_BACKSLASH_ESCAPES:
        together = BETWEEN.join(column)
        if together.count(BETWEEN) == len(column) - 1:
            return [f"'{text}'" for text in escape_string(together).split(BETWEEN)]
    if types == {float}:
        return list(map(escape_float, column))
    return [connection.escape(value, connection.encoders) for value in column]
