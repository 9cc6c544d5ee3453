"""Renders one line: context and fields merged, secrets masked, exceptions structured, JSON. The hot path."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

import orjson

from eggycore.log.context import CONTEXT
from eggycore.log.exceptions import describe
from eggycore.log.fields import RESERVED, field_name, shown, text_of
from eggycore.log.levels import NAMES
from eggycore.log.masking import Verdict, mask_urls, masked, masked_field, verdict

__all__ = ["Lines"]

# Dataclasses are passed through to `shown`, which masks their fields; orjson would write them as they are.
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS
_SCALARS = frozenset({int, float, bool, type(None)})
_MILLISECONDS = tuple(f"{millisecond:03d}Z" for millisecond in range(1000))
_PLAIN_NAMES_LIMIT = 4096
_EXCEPTION_NAMES = frozenset({"exc", "exc_info"})

_plain_names: set[str] = set()
"""Names already found to hold no secret, to be neither reserved nor an exception."""


class Lines:
    """Makes the lines of one service. Thread-safe.

    Args:
        constants: Fields of every line, after timestamp, level and message: service, environment, pod, ...
        clock: Seconds since the epoch.
    """

    def __init__(self, constants: Mapping[str, object], *, clock: Callable[[], float] = time.time) -> None:
        self._constants = dict(constants)
        self._clock = clock
        self._second: tuple[int, str] = (-1, "")  # one tuple, so that a thread never sees half of a change

    def line(self, level: int, message: str, fields: Mapping[str, object]) -> bytes:
        """The line, with its newline. Never raises because of what it is given.

        A field `exc` (an exception) or `exc_info` (as in the standard library) becomes `exception`; a text stays.
        """
        event: dict[str, object] = {
            "timestamp": self._timestamp(),
            "level": NAMES[level],
            "message": mask_urls(message) if message.__class__ is str else text_of(message),
            **self._constants,
            **CONTEXT.get(),
        }
        for name, value in fields.items():
            if name in _plain_names:
                kind = type(value)  # not __class__, which a proxy may fail to tell
                if kind is str:
                    event[name] = mask_urls(value) if "=" in value or "://" in value else value  # type: ignore[arg-type, operator]  # a str
                elif kind in _SCALARS:
                    event[name] = value
                else:
                    event[name] = masked(value)
            else:
                _add_unusual(event, name, value)
        try:
            return orjson.dumps(event, shown, _OPTIONS)
        except TypeError:
            return _repaired(event)

    def _timestamp(self) -> str:
        """RFC 3339 in UTC with milliseconds; the text of the second is kept until the next."""
        now = self._clock()
        second = int(now)
        current, text = self._second
        if current != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._second = (second, text)
        return text + _MILLISECONDS[int((now - second) * 1000)]


def _add_unusual(event: dict[str, object], name: str, value: object) -> None:
    """Add a field whose name is new, reserved, secret or that of an exception."""
    if name in _EXCEPTION_NAMES and not isinstance(value, str):
        if (error := _exception_of(value)) is not None:
            event["exception"] = describe(error)
        return
    event[field_name(name)] = masked_field(name, value)
    is_plain = verdict(name) is Verdict.PLAIN and name not in RESERVED and name not in _EXCEPTION_NAMES
    if is_plain and len(_plain_names) < _PLAIN_NAMES_LIMIT:
        _plain_names.add(name)


def _exception_of(value: object) -> BaseException | None:
    if isinstance(value, BaseException):
        return value
    if isinstance(value, tuple):
        return next((part for part in value if isinstance(part, BaseException)), None)
    return sys.exc_info()[1] if value else None


def _repaired(event: Mapping[str, object]) -> bytes:
    """The line although JSON refuses something in it: whole numbers past 64 bits, lone surrogates, cycles."""
    return orjson.dumps({text_of(name): _writable(value) for name, value in event.items()}, shown, _OPTIONS)


def _writable(value: object) -> object:
    try:
        orjson.dumps(value, shown, _OPTIONS)
    except TypeError:
        return text_of(value)
    return value
