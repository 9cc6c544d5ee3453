"""Lines for people: a JSON line as one aligned, coloured line, with exceptions as tracebacks below."""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, cast

import orjson

__all__ = ["Console", "wants_colour"]

MESSAGE_WIDTH = 28
"""Columns that messages are padded to, so that fields line up."""

_LEVELS: Final = {"debug": ("DEBUG", "2"), "info": ("INFO ", "32"), "warn": ("WARN ", "33"), "error": ("ERROR", "31"),
                  "fatal": ("FATAL", "1;31")}  # fmt: skip
_DIM, _KEY, _BOLD = "2", "36", "1"
_TOLD_BY_THE_TERMINAL = frozenset(
    {"timestamp", "level", "message", "service", "environment", "pod", "node", "namespace", "exception"}
)
_SIMPLE = re.compile(r"[^\s\"'=]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # would move the cursor or change colours; not \t and \n
_REQUEST_ID_SHOWN = 8


def wants_colour(fd: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour what goes to this descriptor: on a terminal, unless NO_COLOR; always with FORCE_COLOR."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (os.isatty(fd) and environ.get("TERM") != "dumb")


class Console:
    """Presents JSON lines to people. Called in the writer thread, so that its cost is not that of the hot path.

    Args:
        colour: Whether to colour.
    """

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, line: bytes) -> bytes:
        try:
            return self._presented(cast(dict[str, object], orjson.loads(line)))
        except (AttributeError, KeyError, TypeError, ValueError):
            return line  # a field of somebody else's making has the name of one of ours and another shape
        except ImportError:
            return line  # the interpreter is going down, and datetime imports what it needs late

    def _presented(self, event: dict[str, object]) -> bytes:
        text, colour = _LEVELS.get(str(event["level"]), _LEVELS["info"])
        moment = datetime.fromisoformat(str(event["timestamp"])).astimezone()
        clock = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
        fields = {name: value for name, value in event.items() if name not in _TOLD_BY_THE_TERMINAL}
        blocks = {name: str(value) for name, value in fields.items() if isinstance(value, str) and "\n" in value}
        message = _printable(str(event["message"])).replace("\n", "\n    ")  # no line of it shall look like another's
        pairs = " ".join(self._pair(name, value) for name, value in fields.items() if name not in blocks)
        padded = message + " " * (MESSAGE_WIDTH - _columns(message)) if pairs else message
        head = [self._paint(clock, _DIM), self._paint(text, colour), self._paint(padded, _BOLD), pairs]
        below = [f"  {name}:\n{_indented(_printable(block))}" for name, block in blocks.items()]
        if isinstance(error := event.get("exception"), dict):
            below.append("\n".join(_traceback(error)))
        return ("\n".join([" ".join(head).rstrip(), *below]) + "\n").encode()

    def _pair(self, name: str, value: object) -> str:
        if name == "request_id":
            value = str(value)[:_REQUEST_ID_SHOWN]
        return f"{self._paint(_printable(name), _KEY)}={_value(value)}"

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def _value(value: object) -> str:
    if isinstance(value, str) and _SIMPLE.fullmatch(value):
        return _printable(value)
    return _printable(orjson.dumps(value).decode())


def _columns(text: str) -> int:
    """How many columns a terminal takes for a text: two for the characters of East Asia, none for accents."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # a large module that most processes never need

    return sum(2 if east_asian_width(char) in "FW" else not combining(char) for char in text)


def _printable(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _indented(text: str) -> str:
    return "\n".join(f"    {part}" for part in text.splitlines())


def _traceback(error: Mapping[str, object], title: str = "") -> list[str]:
    """The exception as Python shows it, newest call last, and below it what caused it."""
    summary = _printable(f"{error['type']}: {error['message']}").replace("\n", "\n    ")
    lines = [f"  {title}{summary}"]
    for frame in cast(list[dict[str, object]], error.get("frames", [])):
        file, number = str(frame["file"]), cast(int, frame["line"])
        lines.append(f'    File "{_printable(file)}", line {number}, in {frame["function"]}')
        if source := linecache.getline(file, number).strip():
            lines.append(f"      {_printable(source)}")
    for name, words in (("cause", "caused by "), ("context", "while handling ")):
        if isinstance(related := error.get(name), dict):
            lines += _traceback(related, words)
    for member in cast(list[dict[str, object]], error.get("exceptions", [])):
        lines += [f"  {line}" for line in _traceback(member, "with ")]
    return lines
