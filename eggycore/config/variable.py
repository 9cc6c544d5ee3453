"""One variable: its name, its limits, and how its values are checked and shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from eggycore.config.facts import Facts
from eggycore.config.kinds import Base, Kind
from eggycore.config.secret import MASK, Secret
from eggycore.config.units import format_duration, format_size
from eggycore.config.urls import check_url, masked_url

__all__ = ["REQUIRED", "Listens", "Other", "Variable"]

Listens = Literal["business", "management"]


class _Required:
    """The type of `REQUIRED`, so that None stays a default like any other."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()
"""In place of a default: the variable must be set."""

_EXPECTED: Final[dict[Base, str]] = {
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "duration": "a duration such as 250ms, 5s or 5m",
    "size": "a size such as 512KB or 64MB",
    "choice": "one of the choices",
    "path": "a path",
    "url": "a URL such as https://host/path",
    "words": "words separated by commas",
}

_EXPECTED_OF_MANY: Final[dict[Base, str]] = {
    "integer": "whole numbers separated by commas",
    "number": "numbers separated by commas",
    "boolean": "true or false, several separated by commas",
    "duration": "durations such as 250ms,5s,5m",
    "size": "sizes such as 512KB,64MB",
    "path": "paths separated by commas",
    "url": "URLs separated by commas",
}


@dataclass(frozen=True)
class Other:
    """Another name under which a variable may be set, when its own name is not.

    Args:
        key: The name, upper case.
        unit: What a plain number counts under that name; None: the same as under the own name.
    """

    key: str
    unit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A field of a `Settings` class that is read from the environment; `env` says what the arguments mean."""

    key: str
    attribute: str
    kind: Kind
    default: object
    doc: str = ""
    ge: float | None = None
    le: float | None = None
    unit: str | None = None
    reload: bool = False
    allow_empty: bool = False
    listens: Listens | None = None
    when: str | None = None
    default_doc: str | None = None
    also: tuple[Other, ...] = ()
    own: bool = False
    contents: bool = False
    costly: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which it may be set, its own first."""
        return (self.key, *(other.key for other in self.also))

    def under(self, name: str) -> Variable:
        """The variable as it is read under one of its names: a plain number may count something else there."""
        other = next((other for other in self.also if other.key == name), None)
        return self if other is None else replace(self, key=name, unit=other.unit or self.unit)

    @property
    def type_name(self) -> str:
        """What it can be, for the reference: "port", "secret text"."""
        return "port" if self.listens else self.kind.name

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is REQUIRED

    def default_for(self, facts: Facts) -> object:
        """The default in a process of which this is known."""
        value = self.default(facts) if callable(self.default) else self.default
        return self.wrapped(value)

    def wrapped(self, value: object) -> object:
        """The value as the field holds it: in a `Secret` when it is one."""
        if self.kind.secret and value is not None and not isinstance(value, Secret):
            return Secret(value)
        return value

    @property
    def expected(self) -> str:
        """What the variable can be set to, in words: "a whole number from 0 to 65535"."""
        if self.kind.base == "choice":
            return f"{'some' if self.kind.many else 'one'} of {', '.join(self.kind.choices)}"
        if self.listens:
            return "a port number from 0 to 65535 (0 takes any free port)"
        limits = self._limits()
        expected = _EXPECTED_OF_MANY.get(self.kind.base) if self.kind.many else None
        expected = expected or _EXPECTED[self.kind.base]
        pause = ", each " if self.kind.many else ", " if "such as" in expected else " "
        return f"{expected}{pause}{limits}" if limits else expected

    def wrong(self, value: object) -> str | None:
        """Why this value cannot be the variable's, without the value; None when it can."""
        if value is None:
            return None if self.kind.optional else "None is not allowed"
        if self.kind.secret:
            if not isinstance(value, Secret):
                return "not a Secret"
            value = value.reveal()
        if not self.kind.many:
            return self._wrong(value)
        if not isinstance(value, tuple):
            return "not a tuple"
        reasons = (self._wrong(word) for word in value)
        return next((f"has a word that is {reason}" for reason in reasons if reason is not None), None)

    def _wrong(self, value: object) -> str | None:
        """Why this one, which may be a word of a list, cannot be a value; None when it can."""
        if not _IS[self.kind.base](value):
            return f"not {_EXPECTED[self.kind.base]}"
        if self.kind.base == "choice" and value not in self.kind.choices:
            return "not one of the choices"
        if value == "" and not self.allow_empty:
            return "empty"
        return self._out_of_range(value)

    def shown(self, value: object) -> str:
        """The value as people may see it: secrets and passwords masked, durations and sizes with a unit."""
        return "(none)" if value is None else self.shown_text(self.written(value))

    def shown_text(self, text: str) -> str:
        """A text that was set as people may see it, whether or not it is a right one."""
        if self.kind.secret:
            return MASK
        if self.kind.base != "url":
            return text
        return ",".join(map(masked_url, text.split(","))) if self.kind.many else masked_url(text)

    def written(self, value: object) -> str:
        """The text that, in the environment, stands for this value. Reveals secrets."""
        if isinstance(value, Secret):
            value = value.reveal()
        if isinstance(value, tuple):
            return ",".join(map(self.written, value))
        if self.kind.base == "duration" and isinstance(value, int | float):
            return format_duration(value)
        if self.kind.base == "size" and isinstance(value, int):
            return format_size(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    @property
    def default_shown(self) -> str:
        """The default in words: `default_doc`, or "required", or the value as it may be shown."""
        if self.default_doc is not None:
            return self.default_doc
        if self.required:
            return "required"
        if callable(self.default):
            return "computed"
        return "none" if self.default is None else self.shown(self.default)

    def _limits(self) -> str:
        low, high = (None if limit is None else self.written(limit) for limit in (self.ge, self.le))
        if low is not None and high is not None:
            return f"from {low} to {high}"
        if low is not None:
            return f"of at least {low}"
        return f"of at most {high}" if high is not None else ""

    def _out_of_range(self, value: object) -> str | None:
        if not isinstance(value, int | float):
            return None
        if self.ge is not None and value < self.ge:
            return f"less than {self.written(self.ge)}"
        if self.le is not None and value > self.le:
            return f"more than {self.written(self.le)}"
        return None


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_IS: Final[dict[Base, Callable[[object], bool]]] = {
    "text": lambda value: isinstance(value, str),
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "duration": lambda value: _is_number(value) and isinstance(value, int | float) and value >= 0,
    "size": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "choice": lambda value: isinstance(value, str),
    "path": lambda value: isinstance(value, Path),
    "url": lambda value: isinstance(value, str) and check_url(value) is None,
    "words": lambda value: isinstance(value, str),
}
