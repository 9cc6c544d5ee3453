"""What a variable's text stands for, worked out from the annotation of its field."""

from __future__ import annotations

import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from eggycore.config.secret import Secret

__all__ = ["Base", "Duration", "Kind", "Size", "kind_of"]

Base = Literal["text", "integer", "number", "boolean", "duration", "size", "choice", "path", "words"]

Duration = Annotated[float, "duration"]
"""A float of seconds, written with a unit: "250ms", "5m"."""

Size = Annotated[int, "size"]
"""An int of bytes, written with a unit: "512MB", "64MiB"."""

_NAMES: Final[dict[Base, str]] = {
    "text": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "duration": "duration",
    "size": "size",
    "choice": "choice",
    "path": "path",
    "words": "list of words",
}

_BASES: Final[dict[object, Base]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    Path: "path",
    Duration: "duration",
    Size: "size",
    tuple[str, ...]: "words",
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a variable's text is read, and how its value may be shown.

    Args:
        base: What the text stands for.
        choices: The values allowed, for the base "choice".
        optional: The value may be None, and is when the variable is set to nothing.
        secret: The value is a `Secret`.
    """

    base: Base
    choices: tuple[str, ...] = ()
    optional: bool = False
    secret: bool = False

    @property
    def name(self) -> str:
        """The type as a reader of the reference sees it: "whole number", "secret text"."""
        name = _NAMES[self.base]
        return f"secret {name}" if self.secret else name


def kind_of(annotation: Any) -> Kind:
    """The kind of a resolved annotation.

    Raises:
        TypeError: No variable can have this type.
    """
    inner, optional = _without_none(annotation)
    secret = get_origin(inner) is Secret
    if secret:
        (inner,) = get_args(inner)
    if get_origin(inner) is Literal:
        return Kind(base="choice", choices=_words(get_args(inner)), optional=optional, secret=secret)
    base = _BASES.get(inner)
    if base is None:
        raise TypeError(f"no variable can have the type {_spelled(annotation)}; the types are {_known_types()}")
    return Kind(base=base, optional=optional, secret=secret)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    members = [member for member in get_args(annotation) if member is not type(None)]
    if len(members) == 1:
        return members[0], True
    return annotation, False


def _words(values: tuple[object, ...]) -> tuple[str, ...]:
    words = tuple(value for value in values if isinstance(value, str))
    if len(words) != len(values):
        raise TypeError("a Literal of a setting holds strings only")
    return words


def _spelled(annotation: object) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def _known_types() -> str:
    return "str, int, float, bool, Duration, Size, Path, tuple[str, ...], Literal[...], Secret[...] and X | None"
