"""What a file of configuration says, as read from JSON, TOML or YAML: tables, lists and texts, each with its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["CUT_OFF", "DEEPEST", "NOT_CLOSED", "TOO_DEEP", "Entry", "Items", "Malformed", "Node", "Scalar", "Table"]

DEEPEST: Final = 32
"""How many tables and lists may lie in each other."""

TOO_DEEP: Final = f"has more than {DEEPEST} tables and lists in each other"

CUT_OFF: Final = "ends too early, as if half written"
NOT_CLOSED: Final = "has a quote that is not closed, or is half written"


@dataclass(frozen=True)
class Scalar:
    """A text, a number or a boolean as it is spelled; None is JSON's and YAML's null. Never shown by `repr`."""

    text: str | None = field(repr=False)
    line: int


@dataclass
class Items:
    """A list."""

    line: int
    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """A key with its value, and the line of the key."""

    key: str
    line: int
    node: Node


@dataclass
class Table:
    """Keys with their values, in the order of the file; one that is there twice is twice here."""

    line: int
    entries: list[Entry] = field(default_factory=list)


Node = Scalar | Items | Table


class Malformed(Exception):
    """The text is not what its format allows. Neither `reason` nor `action` quotes it.

    Args:
        reason: What is wrong, to follow the name of the file.
        action: What to do about it.
        line: Where, from 1; None when it is the whole.
        column: Where in the line, from 1.
    """

    def __init__(self, reason: str, action: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.action = action
        self.line = line
        self.column = column
