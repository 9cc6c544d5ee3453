"""Reads YAML with the line of every key. Plain words stay text: `yes`, `012` and `1:30` are what they look like."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from eggycore.config.nodes import CUT_OFF, DEEPEST, NOT_CLOSED, TOO_DEEP, Entry, Items, Malformed, Node, Scalar, Table

__all__ = ["read_yaml"]

_LOADER: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""libyaml's when PyYAML was built with it: 20 times as fast. Only its events are used: what builds trees of them
recurses without a limit, which in C ends the process."""

_MOST_MERGED: Final = 50_000
"""Keys that merges (`<<`) may bring into one file."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_QUOTED = re.compile(r""" (?:'(?!\\?.')[^']*'|"[^"]*")""")
_NULLS = ("", "~", "null", "Null", "NULL")
_STANDARD = "tag:yaml.org,2002:"
_TAGS = (None, "!", *(f"{_STANDARD}{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")))
_CONTAINER_TAGS = (None, "!", f"{_STANDARD}map", f"{_STANDARD}seq")
_MERGE = "<<"


def read_yaml(text: str) -> Node | None:
    """The value that the text is; None when it holds nothing but comments.

    Raises:
        Malformed: It is not YAML, or has tags, several documents or keys that are no words.
    """
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        line, column = _place(text, forbidden.start())
        raise Malformed(f"holds U+{ord(forbidden[0]):04X}, which YAML forbids", "Remove the character.", line, column)
    building = _Building()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            building.take(event)
    except yaml.MarkedYAMLError as error:
        raise _explained(error, text) from None
    except yaml.YAMLError:
        raise Malformed("not YAML", "Correct the file.") from None
    return building.root


class _Building:
    """Makes nodes of the events of the parser."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._documents = 0
        self._merged = 0
        self._open: list[Table | Items] = []
        self._keys: list[tuple[str, int, bool] | None] = []
        """For each open container the key that waits for its value: text, line, whether it is plain."""
        self._merges: list[list[Node]] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise Malformed("holds more than one document", "Write one file for each.", line)
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.MappingStartEvent():
                self._enter(Table(line), event)
            case yaml.SequenceStartEvent():
                self._enter(Items(line), event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._leave()
            case yaml.AliasEvent():
                self._add(self._aliased(event.anchor or "", line), line)

    def _scalar(self, event: Any, line: int) -> None:
        if event.tag not in _TAGS:
            raise _tagged(line)
        plain = not event.style and event.tag is None
        null = event.tag == f"{_STANDARD}null" or (plain and event.value in _NULLS)
        node = Scalar(None if null else event.value, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if self._awaits_key():
            self._keys[-1] = (event.value, line, plain)
        else:
            self._add(node, line)

    def _enter(self, node: Table | Items, event: Any) -> None:
        if event.tag not in _CONTAINER_TAGS:
            raise _tagged(node.line)
        if len(self._open) >= DEEPEST:
            raise Malformed(TOO_DEEP, "Write it flatter.", node.line)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._add(node, node.line)
        self._open.append(node)
        self._keys.append(None)
        self._merges.append([])

    def _leave(self) -> None:
        node, merges = self._open.pop(), self._merges.pop()
        self._keys.pop()
        if isinstance(node, Table):
            for merged in merges:
                self._merge(node, merged)

    def _merge(self, table: Table, merged: Node) -> None:
        """Add the keys that the table itself has not; of several merged tables the first wins."""
        for one in merged.nodes if isinstance(merged, Items) else (merged,):
            if not isinstance(one, Table):
                raise Malformed("merges (<<) what is no table", "Name the anchor of a table.", table.line)
            own = {entry.key for entry in table.entries}
            table.entries += [entry for entry in one.entries if entry.key not in own]
            self._merged += len(one.entries)
            if self._merged > _MOST_MERGED:
                raise Malformed("merges (<<) too many keys", "Write them once.", table.line)

    def _aliased(self, anchor: str, line: int) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise Malformed("has an alias (*) to an anchor that is not there", "Quote what begins with *.", line)
        if any(node is one for one in self._open):
            raise Malformed("has an alias (*) inside of what it stands for", "Write it out.", line)
        return node

    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1], Table) and self._keys[-1] is None

    def _add(self, node: Node, line: int) -> None:
        if self._awaits_key():
            raise Malformed("has a key that is not a word", "Write a name before the colon.", line)
        holder = self._open[-1] if self._open else None
        if holder is None:
            self.root = node
        elif isinstance(holder, Items):
            holder.nodes.append(node)
        elif (waiting := self._keys[-1]) is not None:
            key, key_line, plain = waiting
            self._keys[-1] = None
            if key == _MERGE and plain:
                self._merges[-1].append(node)
            else:
                holder.entries.append(Entry(key, key_line, node))


def _tagged(line: int) -> Malformed:
    return Malformed("has a tag (!) that configuration does not know", "Quote what begins with !.", line)


def _explained(error: yaml.MarkedYAMLError, text: str) -> Malformed:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Malformed("not YAML", "Correct the file.")
    line, column = mark.line + 1, mark.column + 1
    lines = _LINE_END.split(text)
    said = lines[mark.line] if mark.line < len(lines) else ""
    before = said[: mark.column + 1]
    if "\t" in before and not before.strip():
        return Malformed("indented with a tab", "Indent with spaces: YAML allows no tabs there.", line, column)
    if not "".join([said[mark.column :], *lines[mark.line + 1 :]]).strip():
        if error.context == "while scanning a quoted scalar" and error.context_mark is not None:
            opened = error.context_mark
            return Malformed(NOT_CLOSED, "Complete the file.", opened.line + 1, opened.column + 1)
        return Malformed(CUT_OFF, "Complete the file.", *_place(text, len(text.rstrip())))
    # What is quoted, but for a single character, is a piece of the file, and may be of a secret.
    return Malformed(f"not YAML: {_QUOTED.sub('', str(error.problem))}", "Correct the file.", line, column)


def _place(text: str, position: int) -> tuple[int, int]:
    before = _LINE_END.split(text[:position])
    return len(before), len(before[-1]) + 1
