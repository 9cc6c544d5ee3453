"""Durations and sizes as people write them: "250ms", "1h30m", "512MB"."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

__all__ = ["SIZE_UNITS", "TIME_UNITS", "format_duration", "format_size", "parse_duration", "parse_size"]

TIME_UNITS: Final = {
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
"""Seconds in each unit of time."""

SIZE_UNITS: Final = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
"""Bytes in each unit of size."""

_NUMBER = r"[0-9]{1,30}(?:\.[0-9]{1,30})?"
_PLAIN = re.compile(_NUMBER)
_TIME_PART = re.compile(rf"({_NUMBER})(us|ms|s|m|h|d)")
_TIME = re.compile(rf"(?:{_NUMBER}(?:us|ms|s|m|h|d))+")
_SIZE = re.compile(rf"({_NUMBER}) ?([KMGT]i?B|B)", re.IGNORECASE)
_SIZE_BY_LOWER = {name.lower(): count for name, count in SIZE_UNITS.items()}


def parse_duration(text: str, unit: str | None = None) -> float:
    """Seconds in a duration such as "250ms", "5m" or "1h30m".

    Args:
        text: The duration. Zero needs no unit.
        unit: The unit of a plain number; None when a plain number is refused.

    Raises:
        ValueError: The text is not a duration; the message says why, without the text.
    """
    if _PLAIN.fullmatch(text):
        return float(Decimal(text) * _plain_unit(text, unit))
    if not _TIME.fullmatch(text):
        raise ValueError("not a duration")
    return float(sum(Decimal(number) * TIME_UNITS[name] for number, name in _TIME_PART.findall(text)))


def _plain_unit(number: str, unit: str | None) -> Decimal:
    if unit is not None:
        return TIME_UNITS[unit]
    if Decimal(number) == 0:
        return Decimal(1)
    raise ValueError("a duration without a unit")


def format_duration(seconds: float) -> str:
    """The shortest exact way to write a duration, of 0 or at least 1 ns, that `parse_duration` reads back.

    >>> format_duration(0.25), format_duration(90), format_duration(0)
    ('250ms', '90s', '0s')
    """
    if not math.isfinite(seconds) or seconds < 0:
        return f"{seconds}s"
    exact = Decimal(repr(float(seconds)))
    for name in ("d", "h", "m", "s", "ms", "us"):
        count = exact / TIME_UNITS[name]
        if count >= 1 and count == count.to_integral_value():
            return f"{count:.0f}{name}"
    return f"{exact.normalize():f}s"


def parse_size(text: str, unit: str | None = None) -> int:
    """Bytes in a size such as "512MB" (millions) or "64MiB" (powers of 1024); parts of a byte are cut off.

    Args:
        text: The size; the unit may be in lower case. Zero needs no unit.
        unit: The unit of a plain number; None when a plain number is refused.

    Raises:
        ValueError: The text is not a size; the message says why, without the text.
    """
    if _PLAIN.fullmatch(text):
        if unit is None and Decimal(text) != 0:
            raise ValueError("a size without a unit")
        return int(Decimal(text) * SIZE_UNITS[unit or "B"])
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("not a size")
    return int(Decimal(match[1]) * _SIZE_BY_LOWER[match[2].lower()])


def format_size(count: int) -> str:
    """The shortest exact way to write a number of bytes that `parse_size` reads back.

    >>> format_size(512_000_000), format_size(65536), format_size(1001)
    ('512MB', '64KiB', '1001B')
    """
    exact = [(count // size, name) for name, size in SIZE_UNITS.items() if count >= size and count % size == 0]
    number, name = min(exact, default=(count, "B"))
    return f"{number}{name}"
