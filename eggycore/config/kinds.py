"""What a variable's text stands for, worked out from the annotation of its field."""

from __future__ import annotations

import builtins
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from eggycore.config.secret import Secret

__all__ = ["Base", "Duration", "Kind", "Size", "Url", "kind_of"]

Base = Literal["text", "integer", "number", "boolean", "duration", "size", "choice", "path", "url", "words"]

Duration = Annotated[float, "duration"]
"""A float of seconds, written with a unit: "250ms", "5m"."""

Size = Annotated[int, "size"]
"""An int of bytes, written with a unit: "512MB", "64MiB"."""

Url = Annotated[str, "url"]
"""A str that is an absolute URL with a host: "https://mail.example/send". A password in it is masked when shown."""

_NAMES: Final[dict[Base, str]] = {
    "text": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "duration": "duration",
    "size": "size",
    "choice": "choice",
    "path": "path",
    "url": "URL",
    "words": "list of words",
}

_SEVERAL: Final[dict[Base, str]] = {
    "integer": "list of whole numbers",
    "number": "list of numbers",
    "boolean": "list of true or false",
    "duration": "list of durations",
    "size": "list of sizes",
    "choice": "list of choices",
    "path": "list of paths",
    "url": "list of URLs",
}

_BASES: Final[dict[object, Base]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    Path: "path",
    Duration: "duration",
    Size: "size",
    Url: "url",
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a variable's text is read, and how its value may be shown.

    Args:
        base: What the text stands for; of a list, what each word of it does. A list of texts is "words".
        choices: The values allowed, for the base "choice".
        optional: The value may be None, and is when the variable is set to nothing.
        secret: The value is a `Secret`.
        many: The value is a tuple, written as words with commas between them.
    """

    base: Base
    choices: tuple[str, ...] = ()
    optional: bool = False
    secret: bool = False
    many: bool = False

    @property
    def name(self) -> str:
        """The type as a reader of the reference sees it: "whole number", "secret text", "list of durations"."""
        name = _SEVERAL[self.base] if self.many and self.base != "words" else _NAMES[self.base]
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
    inner, many = _without_tuple(inner)
    if get_origin(inner) is Literal:
        return Kind(base="choice", choices=_words(get_args(inner)), optional=optional, secret=secret, many=many)
    base = _BASES.get(inner)
    if base is None:
        raise TypeError(f"no variable can have the type {_spelled(annotation)}; the types are {_known_types()}")
    return Kind(base="words" if many and base == "text" else base, optional=optional, secret=secret, many=many)


def _without_tuple(annotation: Any) -> tuple[Any, bool]:
    match get_origin(annotation), get_args(annotation):
        case builtins.tuple, (inner, builtins.Ellipsis):
            return inner, True
    return annotation, False


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
    bases = "str, int, float, bool, Duration, Size, Url, Path, Literal[...]"
    return f"{bases}, tuple[...] of one of these, Secret[...] and X | None"
