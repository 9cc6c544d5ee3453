"""Writes objects as YAML for people: fields in the order in which they are given, and comments where they belong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

__all__ = ["Comment", "Manifest", "write_yaml"]

Manifest: TypeAlias = "dict[str, object]"
"""An object of Kubernetes. A key that is a `Comment` stands for a comment in front of the next field."""

_PLAIN = re.compile(r"[A-Za-z/](?:[A-Za-z0-9_./:-]*[A-Za-z0-9_./-])?")
_NOT_TEXT = frozenset({"false", "n", "no", "null", "off", "on", "true", "y", "yes"})
"""Words that a parser of YAML 1.1, which kubectl's is in part, takes for something else than text."""


class Comment(str):
    """A comment, as a key or an item; its lines are written as they are."""

    __slots__ = ()


def write_yaml(value: Mapping[str, object]) -> str:
    """The object as one YAML document, without the line that separates documents."""
    return "\n".join(_mapping(value, "")) + "\n"


def _mapping(value: Mapping[str, object], indent: str) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(key, Comment):
            yield from _comment(key, indent)
        else:
            yield from _field(f"{indent}{_text(key)}:", item, indent)


def _field(head: str, item: object, indent: str) -> Iterator[str]:
    if isinstance(item, Mapping) and any(not isinstance(key, Comment) for key in item):
        yield head
        yield from _mapping(item, indent + "  ")
    elif isinstance(item, Mapping):
        yield f"{head} {{}}"
        for comment in item:
            yield from _comment(comment, indent + "  ")
    elif isinstance(item, Sequence) and not isinstance(item, str) and item:
        yield head
        for one in item:
            yield from _item(one, indent)
    else:
        yield f"{head} {_scalar(item)}"


def _item(item: object, indent: str) -> Iterator[str]:
    if isinstance(item, Comment):
        yield from _comment(item, indent)
    elif isinstance(item, Mapping) and item:
        lines = list(_mapping(item, indent + "  "))
        first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#"))
        yield from (line.removeprefix("  ") for line in lines[:first])
        yield f"{indent}- {lines[first].lstrip()}"
        yield from lines[first + 1 :]
    else:
        yield f"{indent}- {_scalar(item)}"


def _comment(text: str, indent: str) -> Iterator[str]:
    return (f"{indent}# {line}".rstrip() for line in text.split("\n"))


def _scalar(item: object) -> str:
    if isinstance(item, str):
        return _text(item)
    return json.dumps(item)  # numbers, booleans, and lists and mappings that are empty


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def _escaped(character: str) -> str:
    """The character inside quotes; JSON would write those beyond 16 bits as two, which YAML does not put together."""
    return character if character.isprintable() else f"\\U{ord(character):08x}"
