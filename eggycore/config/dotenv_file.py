"""Reads a .env file, and says of each line that cannot be read what is wrong with it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from eggycore.errors import ConfigProblem

if TYPE_CHECKING:
    from dotenv.parser import Binding

__all__ = ["DotenvFile", "read_dotenv"]

_NEWLINE = re.compile(r"\r\n|\n|\r")
_QUOTED = re.compile(r"\s*(?:export\s+)?[^=\s]+\s*=[^\S\r\n]*(['\"])")


@dataclass(frozen=True)
class DotenvFile:
    """What a .env file says: values, the line of each, and what could not be read. Values are never shown.

    `quoted` are the variables in single quotes, which are taken literally.
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[ConfigProblem, ...] = ()
    quoted: frozenset[str] = frozenset()


def read_dotenv(path: Path) -> DotenvFile:
    """Read the file, if there is one; a folder of that name is not one. `${X}` stays, for `expansion` to expand.

    Of a variable set twice, the later line counts.
    """
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        reason = f"cannot be read: {error.strerror or type(error).__name__}"
        return DotenvFile(problems=(_problem(path, reason, "Make it readable for this user, or remove it."),))
    return _parsed(path, content) if content else DotenvFile()


def _parsed(path: Path, content: bytes) -> DotenvFile:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = _line_after(content[: error.start].decode())
        return DotenvFile(problems=(_problem(path, "not UTF-8", "Save the file as UTF-8.", line),))
    if "\0" in text:
        line = _line_after(text.partition("\0")[0])
        return DotenvFile(problems=(_problem(path, "holds a NUL character", "Remove the character.", line),))
    return _bound(path, text)


def _bound(path: Path, text: str) -> DotenvFile:
    from dotenv.parser import parse_stream  # its package costs 8 ms, and few processes in production have the file

    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[ConfigProblem] = []
    quotes: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text, newline="")):
        line = binding.original.line + _blank_lines_before(binding.original.string)
        if binding.error or (binding.key is not None and binding.value is None):
            problems.append(_unreadable(path, line, binding))
        elif binding.key is not None and binding.value is not None:
            values[binding.key], lines[binding.key] = binding.value, line
            found = _QUOTED.match(binding.original.string)
            quotes[binding.key] = found[1] if found else ""
    return DotenvFile(values, lines, tuple(problems), frozenset(key for key in quotes if quotes[key] == "'"))


def _unreadable(path: Path, line: int, binding: Binding) -> ConfigProblem:
    text = binding.original.string
    if not binding.error or "=" not in text:
        return _problem(path, "no '=' after a name", "Write NAME=value, or put a # before a comment.", line)
    quoted = _QUOTED.match(text)
    if quoted:
        reason = f"the quote {quoted[1]} is not closed, or something follows it"
        return _problem(path, reason, f"End the value with {quoted[1]}, and put a \\ before one inside it.", line)
    return _problem(path, "not NAME=value", "Write NAME=value; the name holds no spaces.", line)


def _problem(path: Path, reason: str, action: str, line: int | None = None) -> ConfigProblem:
    return ConfigProblem(key=f"{path}{f', line {line}' if line else ''}", reason=reason, action=action)


def _blank_lines_before(statement: str) -> int:
    return len(_NEWLINE.findall(statement[: len(statement) - len(statement.lstrip())]))


def _line_after(text: str) -> int:
    return len(_NEWLINE.findall(text)) + 1
