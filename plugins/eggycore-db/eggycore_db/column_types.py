"""Types and defaults of columns, as models declare them and as databases tell them."""

from __future__ import annotations

import re
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any, cast

import peewee

__all__ = ["declared_type", "default_in_sql", "same_type"]

_SAME = (
    "integer int int4 serial mediumint",
    "bigint int8 bigserial",
    "smallint int2 smallserial",
    "boolean bool tinyint(1)",
    "varchar character_varying",
    "char character bpchar",
    "text longtext mediumtext tinytext json",  # JSON is text on MariaDB
    "real float float4",
    "double double_precision float8",
    "decimal numeric",
    "timestamp datetime timestamp_without_time_zone",
    "timestamptz timestamp_with_time_zone",
    "time time_without_time_zone",
    "date",
    "blob bytea longblob mediumblob tinyblob",
    "jsonb",
    "uuid",
)
_WORDS = {name.replace("_", " "): group.split()[0] for group in _SAME for name in group.split()}
_WITH_LENGTH = frozenset({"char", "decimal", "varchar"})


def declared_type(db: peewee.Database, field: peewee.Field) -> str:
    """The type that a field's column has on this kind of database: "VARCHAR(255)"."""
    context: Any = db.get_sql_context()
    sql: str = context.sql(field.ddl_datatype(context)).query()[0]
    return sql.replace("AUTO_INCREMENT", "").strip()


def same_type(declared: str, found: str) -> bool:
    """Whether two names mean the same type; True when one is not known, so that only what is certain is reported."""
    one, other = _known(declared), _known(found)
    if one is None or other is None:
        return True
    (one_word, one_size), (other_word, other_size) = one, other
    if one_word != other_word:
        return False
    return one_word not in _WITH_LENGTH or not one_size or not other_size or one_size == other_size


def default_in_sql(db: peewee.Database, field: peewee.Field) -> str | None:
    """The field's default as it can be written in SQL; None when it has none, or one that is made anew each time."""
    default, untyped = field.default, cast("Any", field)
    if default is None or callable(default):
        return None
    literal = _literal(db, untyped.db_value(default))
    if literal is not None and isinstance(db, peewee.MySQLDatabase) and isinstance(field, peewee.TextField):
        return f"({literal})"  # MySQL takes no other default for a long text
    return literal


def _known(name: str) -> tuple[str, str] | None:
    """The word and the size in parentheses of a type; None when the word is not known."""
    text = " ".join(name.lower().replace("unsigned", "").split())
    if text in _WORDS:  # tinyint(1)
        return _WORDS[text], ""
    size = re.search(r"\(([\d, ]+)\)", text)
    word = " ".join(re.sub(r"\([^)]*\)", " ", text).split())
    return (_WORDS[word], size.group(1).replace(" ", "") if size else "") if word in _WORDS else None


def _literal(db: peewee.Database, value: Any) -> str | None:
    if isinstance(value, bool):
        return ("true" if value else "false") if isinstance(db, peewee.PostgresqlDatabase) else str(int(value))
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, float):
        return repr(value) if value - value == 0 else None  # neither infinite nor NaN
    if isinstance(value, date | datetime | time_of_day):
        return f"'{value}'"
    if isinstance(value, str) and value.isprintable() and not set(value) & set("\\%?"):  # what drivers read differently
        return "'{}'".format(value.replace("'", "''"))
    return None
