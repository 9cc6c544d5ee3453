"""References to other variables in a text: `${NAME}`, `${NAME:-default}`, and `$${` for a `${` that is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Lookup", "Unexpanded", "expanded"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEEPEST = 20
"""How many defaults may lie in each other."""
_LONGEST = 1_048_576
"""Characters that a text may have once it is expanded: .env lines that refer to each other twice double each time."""


class Unexpanded(Exception):
    """A text cannot be expanded. Of the text, only the name of a variable that it refers to is told."""

    def __init__(self, reason: str, action: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.action = action


@dataclass(frozen=True)
class _Reference:
    name: str
    default: tuple[_Part, ...] | None


_Part = str | _Reference


class Lookup:
    """The variables that references find, the strongest source first. For one reading, in one thread.

    Args:
        literal: Sources whose texts are taken as they are, the strongest first.
        dotenv: What .env says, whose texts may refer to other variables.
        quoted: The variables of .env that are in single quotes, so that theirs do not.
    """

    def __init__(
        self, literal: Sequence[Mapping[str, str]], dotenv: Mapping[str, str], quoted: Collection[str] = ()
    ) -> None:
        self._literal = literal
        self._dotenv = dotenv
        self._quoted = quoted
        self._known: dict[str, str] = {}
        self._in_progress: list[str] = []

    def __call__(self, name: str) -> str | None:
        """The text of a variable; None when it is not set.

        Raises:
            Unexpanded: .env sets it to what cannot be expanded.
        """
        for layer in self._literal:
            if name in layer:
                return layer[name]
        return self.in_dotenv(name) if name in self._dotenv else None

    def in_dotenv(self, name: str) -> str:
        """The text that .env gives a variable, expanded.

        Raises:
            Unexpanded: It cannot be.
        """
        if name in self._quoted:
            return self._dotenv[name]
        if name in self._in_progress:
            raise Unexpanded(f"${{{name}}} refers to itself", "Write out one of the texts that refer to each other.")
        if name not in self._known:
            if len(self._in_progress) >= _DEEPEST:
                raise Unexpanded("refers to a variable that refers to another, too often", "Write one of them out.")
            self._in_progress.append(name)
            try:
                self._known[name] = expanded(self._dotenv[name], self)
            finally:
                self._in_progress.pop()
        return self._known[name]


def expanded(text: str, lookup: Callable[[str], str | None]) -> str:
    """The text with every reference replaced by what it stands for; what stands there is not expanded again.

    Args:
        text: Any text.
        lookup: The text of a variable; None when it is not set.

    Raises:
        Unexpanded: A reference is malformed, or its variable is not set and it has no default.
    """
    if "${" not in text:
        return text
    parts, _ = _parsed(text, 0, 0)
    return _resolved(parts, lookup)


def _parsed(text: str, at: int, depth: int) -> tuple[tuple[_Part, ...], int]:
    """The parts of a text from `at` on and, in a default, up to the brace that closes it; and where they end."""
    if depth > _DEEPEST:
        raise Unexpanded(f"has more than {_DEEPEST} defaults in each other", "Set one of the variables.")
    parts: list[_Part] = []
    start = at
    while at < len(text) and not (depth and text[at] == "}"):
        if text.startswith("$${", at):
            parts += (text[start:at], "${")
            start = at = at + 3
        elif text.startswith("${", at):
            parts.append(text[start:at])
            reference, at = _reference(text, at + 2, depth)
            parts.append(reference)
            start = at
        else:
            at += 1
    parts.append(text[start:at])
    return tuple(parts), at


def _reference(text: str, at: int, depth: int) -> tuple[_Reference, int]:
    """The reference whose name is to begin at `at`, and where it ends."""
    name = _NAME.match(text, at)
    if name is None:
        raise _malformed(text, at)
    at, default = name.end(), None
    if text.startswith(":-", at):
        default, at = _parsed(text, at + 2, depth + 1)
    if not text.startswith("}", at):
        raise _malformed(text, at)
    return _Reference(name[0], default), at + 1


def _malformed(text: str, at: int) -> Unexpanded:
    action = "Write ${NAME} or ${NAME:-default}, or $${ for the two characters."
    return Unexpanded("${ is not closed" if "}" not in text[at:] else "${ is not followed by a name and }", action)


def _resolved(parts: Sequence[_Part], lookup: Callable[[str], str | None]) -> str:
    text = "".join(part if isinstance(part, str) else _value(part, lookup) for part in parts)
    if len(text) > _LONGEST:
        raise Unexpanded("becomes more than 1 MiB long", "Refer to fewer variables.")
    return text


def _value(reference: _Reference, lookup: Callable[[str], str | None]) -> str:
    value = lookup(reference.name)
    if reference.default is not None:
        return value or _resolved(reference.default, lookup)
    if value is None:
        name = reference.name
        action = f"Set {name} in the environment, in .env or with --set, or write ${{{name}:-default}}."
        raise Unexpanded(f"${{{name}}} is not set, and has no default", action)
    return value
