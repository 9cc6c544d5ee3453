"""Reads JSON with the line of every key: the standard library says whether it is JSON, a scan of it where."""

from __future__ import annotations

import json
import re

from eggycore.config.nodes import CUT_OFF, DEEPEST, NOT_CLOSED, TOO_DEEP, Entry, Items, Malformed, Node, Scalar, Table

__all__ = ["read_json"]

_PIECE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def read_json(text: str) -> Node:
    """The value that the text is.

    Raises:
        Malformed: It is not JSON.
    """
    _validate(text)
    return _Scan(text).node()


def _validate(text: str) -> None:
    try:
        json.loads(text, parse_int=str, parse_float=str)  # numbers are not made: one of a million digits takes seconds
    except json.JSONDecodeError as error:
        if error.msg.startswith("Unterminated string"):
            raise Malformed(NOT_CLOSED, "Complete the file.", error.lineno, error.colno) from None
        if error.pos >= len(text.rstrip()):
            raise Malformed(CUT_OFF, "Complete the file.", error.lineno, error.colno) from None
        reason = f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise Malformed(reason, "Correct the file.", error.lineno, error.colno) from None
    except RecursionError:
        raise Malformed(TOO_DEEP, "Write it flatter.") from None


class _Scan:
    """One walk over a text that is JSON."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._root = Items(1)
        self._open: list[Table | Items] = [self._root]
        self._key: tuple[str, int] | None = None

    def node(self) -> Node:
        line, position = 1, 0
        for found in _PIECE.finditer(self._text):
            line += self._text.count("\n", position, found.start())
            position = found.start()
            self._take(found[0], line)
        return self._root.nodes[0]

    def _take(self, piece: str, line: int) -> None:
        if piece in "}]":
            self._open.pop()
        elif piece == "{":
            self._enter(Table(line))
        elif piece == "[":
            self._enter(Items(line))
        elif piece[0] == '"' and isinstance(self._open[-1], Table) and self._key is None:
            self._key = json.loads(piece), line
        elif piece not in ",:":
            self._add(Scalar(_spelled(piece), line))

    def _enter(self, node: Table | Items) -> None:
        if len(self._open) > DEEPEST:
            raise Malformed(TOO_DEEP, "Write it flatter.", node.line)
        self._add(node)
        self._open.append(node)

    def _add(self, node: Node) -> None:
        holder = self._open[-1]
        if isinstance(holder, Items):
            holder.nodes.append(node)
        elif self._key is not None:
            holder.entries.append(Entry(*self._key, node))
            self._key = None


def _spelled(piece: str) -> str | None:
    if piece[0] == '"':
        return str(json.loads(piece))
    return None if piece == "null" else piece
