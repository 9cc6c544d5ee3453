"""What one variable may be set to in a file of configuration, as JSON Schema: everything that the reading takes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

import orjson

from eggycore.config.kinds import Base
from eggycore.config.reference import meaning
from eggycore.config.units import SIZE_UNITS, TIME_UNITS
from eggycore.config.variable import Variable

__all__ = ["Schema", "value_schema"]

Schema = dict[str, object]

_EXPANSION: Final = r"\$\{"
"""A text with ${NAME} in it can become anything."""

_INTEGER: Final = "[+-]?[0-9][0-9_]*"
_NUMBER: Final = r"[+-]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_PLAIN: Final = r"[0-9]{1,30}(?:\.[0-9]{1,30})?"
_ZERO: Final = r"0+(?:\.0+)?"
_TRUE: Final = "[tT]|[tT]rue|TRUE|[yY]|[yY]es|YES|[oO]n|ON|1"
_FALSE: Final = "[fF]|[fF]alse|FALSE|[nN]|[nN]o|NO|[oO]ff|OFF|0"


def value_schema(variable: Variable, *, member_of: str = "") -> Schema:
    """The schema of a variable, with what editors show of it.

    Args:
        variable: The variable, under the name that is meant.
        member_of: For a member's variable, that of the class: the one whose value it has when it is not set.
    """
    schema: Schema = {"title": variable.key, "description": _description(variable, member_of)}
    schema |= _of_kind(variable)
    if variable.kind.secret:
        schema["writeOnly"] = True
    elif not variable.required and not callable(variable.default) and (not member_of or variable.own):
        schema["default"] = _default(variable)
    schema["x-reload"] = variable.reload or ("contents" if variable.contents else False)
    return schema


def _description(variable: Variable, member_of: str) -> str:
    inherits = member_of and not variable.own
    default = f"the value of {member_of}" if inherits else variable.default_shown or "empty"
    plain = f"A plain number counts {variable.unit}." if variable.unit else ""
    return " ".join(part for part in (meaning(variable), plain, f"Default: {default}.") if part)


def _of_kind(variable: Variable) -> Schema:
    return _list(variable) if variable.kind.many else _scalar(variable)


def _list(variable: Variable) -> Schema:
    """A list as such, or as its words with commas between them, of which there may be one or none."""
    word = _word_of(variable)
    if word.kind.base == "text":
        item: Schema = {"type": ["string", "number", "boolean"], "pattern": rf"^[^,]*$|{_EXPANSION}"}
        return {"type": ["array", "string", "number", "boolean", "null"], "items": item}
    one = _pattern(word)
    text = rf"^\s*(?:{one})?\s*(?:,\s*(?:{one})?\s*)*$|{_EXPANSION}"
    types = {"choice": ["string", "number", "boolean"]}.get(word.kind.base) or _types_of_numbers(word)
    return {"type": ["array", *types, "null"], "pattern": text, **_limits(word), "items": _scalar(word)}


def _word_of(variable: Variable) -> Variable:
    base: Base = "text" if variable.kind.base == "words" else variable.kind.base
    kind = replace(variable.kind, base=base, many=False, optional=False)
    return replace(variable, kind=kind, allow_empty=False)


def _scalar(variable: Variable) -> Schema:
    if variable.kind.base == "choice":
        return {"anyOf": [{"enum": _enumerated(variable)}, {"type": _types(variable, "string"), **_texts(variable)}]}
    if variable.kind.base == "text":
        least: Schema = {} if _may_be_nothing(variable) else {"minLength": 1}
        return {"type": _types(variable, "string", "number", "boolean"), **least}
    return {"type": _types(variable, *_types_of_numbers(variable)), **_texts(variable), **_limits(variable)}


def _texts(variable: Variable) -> Schema:
    nothing = r"|^\s*$" if _may_be_nothing(variable) else ""
    return {"pattern": rf"^\s*(?:{_pattern(variable)})\s*$|{_EXPANSION}{nothing}"}


def _types_of_numbers(variable: Variable) -> list[str]:
    """What it can be written as: as a text, and some without quotes."""
    unquoted = {"boolean": "boolean", "integer": "integer", "number": "number", "duration": "number", "size": "number"}
    other = unquoted.get(variable.kind.base)
    return [other, "string"] if other is not None else ["string"]


def _limits(variable: Variable) -> Schema:
    """The limits of what is written without quotes; of a duration or size without a unit, that can only be zero."""
    unit: Decimal | int = 1
    least: Schema = {}
    if variable.kind.base in ("duration", "size"):
        if variable.unit is None:
            return {"minimum": 0, "maximum": 0}
        least = {"minimum": 0}
        unit = TIME_UNITS[variable.unit] if variable.kind.base == "duration" else SIZE_UNITS[variable.unit]
    limits = (("minimum", variable.ge), ("maximum", variable.le))
    return least | {name: _counted(limit, unit) for name, limit in limits if limit is not None}


def _counted(amount: float, unit: Decimal | int) -> int | float:
    exact = Decimal(repr(amount)) / unit
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _types(variable: Variable, *types: str) -> list[str]:
    return [*types, "null"] if _may_be_nothing(variable) else list(types)


def _may_be_nothing(variable: Variable) -> bool:
    return variable.kind.optional or variable.allow_empty


def _enumerated(variable: Variable) -> list[object]:
    """The choices; those that files can write without quotes (true, 7) in that form as well."""
    values: list[object] = [*variable.kind.choices]
    for choice in variable.kind.choices:
        try:
            values.append(orjson.loads(choice))
        except orjson.JSONDecodeError:
            continue
    return [*values, None] if variable.kind.optional and None not in values else values


def _in_any_case(words: tuple[str, ...]) -> str:
    return "|".join("".join(_either_case(letter) for letter in word) for word in words)


def _either_case(letter: str) -> str:
    if letter.isalpha() and letter.lower() != letter.upper():
        return f"[{letter.lower()}{letter.upper()}]"
    return letter if letter.isalnum() or letter in "_-" else f"\\{letter}"


def _default(variable: Variable) -> object:
    if isinstance(variable.default, tuple):
        word = _word_of(variable)
        return [_written(word, value) for value in variable.default]
    return _written(variable, variable.default)


def _written(variable: Variable, value: object) -> object:
    if value is None or (isinstance(value, bool | int | float) and variable.kind.base not in ("duration", "size")):
        return value
    return variable.shown(value)


def _pattern(variable: Variable) -> str:
    """What a text looks like that stands for a value, without the blanks around it."""
    match variable.kind.base:
        case "integer":
            return _INTEGER
        case "number":
            return _NUMBER
        case "boolean":
            return f"{_TRUE}|{_FALSE}"
        case "duration":
            return f"(?:{_PLAIN}(?:us|ms|s|m|h|d))+|{_PLAIN if variable.unit else _ZERO}"
        case "size":
            return f"{_PLAIN} ?(?:[KkMmGgTt][Ii]?)?[Bb]|{_PLAIN if variable.unit else _ZERO}"
        case "choice":
            return _in_any_case(variable.kind.choices)
        case "url":
            return r"[A-Za-z][A-Za-z0-9+.-]*://.+"
        case _:
            return r".*\S.*"
