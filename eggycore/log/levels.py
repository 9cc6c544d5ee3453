"""The five levels: their names, their numbers, and where the levels of other libraries fall."""

from __future__ import annotations

from typing import Literal

__all__ = ["DEBUG", "ERROR", "FATAL", "INFO", "NAMES", "NUMBERS", "WARN", "Level", "number_in", "number_of"]

Level = Literal["debug", "info", "warn", "error", "fatal"]

DEBUG, INFO, WARN, ERROR, FATAL = 10, 20, 30, 40, 50
"""The numbers of the standard library, so that its records compare without a table."""

NAMES: dict[int, Level] = {DEBUG: "debug", INFO: "info", WARN: "warn", ERROR: "error", FATAL: "fatal"}
NUMBERS: dict[str, int] = {name: number for number, name in NAMES.items()}

_ALIASES = {"warning": WARN, "critical": FATAL, "exception": ERROR, "msg": INFO, "notset": DEBUG, "trace": DEBUG}


def number_of(name: str) -> int:
    """The number of a level, upper or lower case; "warning" and "critical" of other libraries are understood.

    Raises:
        ValueError: There is no such level.
    """
    lower = name.lower()
    number = NUMBERS.get(lower) or _ALIASES.get(lower)
    if number is None:
        raise ValueError(f"{name!r} is not a log level: use one of {', '.join(NUMBERS)}")
    return number


def number_in(number: int) -> int:
    """The level that a number of another library falls into: 25 is INFO, 55 is FATAL, anything below 20 is DEBUG."""
    return min(max(number // 10 * 10, DEBUG), FATAL)
