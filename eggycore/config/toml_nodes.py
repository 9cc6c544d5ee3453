"""Reads TOML with the line of every key: the standard library says whether it is TOML, a scan of it where."""

from __future__ import annotations

import re
import tomllib
from typing import Final, TypeVar

from eggycore.config.nodes import CUT_OFF, DEEPEST, NOT_CLOSED, TOO_DEEP, Entry, Items, Malformed, Scalar, Table

__all__ = ["read_toml"]

N = TypeVar("N", Scalar, Items, Table, Scalar | Items | Table)

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\r\n]*")
_STRINGS: Final = (
    re.compile(r'"""(?:\\.|"{1,2}(?!")|[^"\\])*"{3,5}', re.DOTALL),
    re.compile(r"'''(?:'{1,2}(?!')|[^'])*'{3,5}"),
    re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'),
    re.compile(r"'[^'\n]*'"),
)
_NUMBER = re.compile(r"[+-]?[0-9][0-9_.eE+-]*")
_BASED = re.compile(r"0(?:x[0-9a-fA-F_]+|o[0-7_]+|b[01_]+)")
_DATE = re.compile(r"[0-9]{2,4}[-:][0-9]{2}")
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_QUOTED = re.compile(r""" (?:'(?!\\?.')[^']*'|"[^"]*"|\([^)]*\))""")


def read_toml(text: str) -> Table:
    """The table that the text is. A key or table that is there twice, which TOML forbids, is there twice.

    Raises:
        Malformed: It is not TOML for another reason.
    """
    text = text.replace("\r\n", "\n")
    table = _scanned(text)  # first, because for a key of 100,000 parts the standard library takes hours
    try:
        tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as error:
        if table is not None and _has_repeated(table):
            return table
        raise _refused(str(error)) from None
    except RecursionError:
        raise Malformed(TOO_DEEP, "Write it flatter.") from None
    except ValueError:  # Python makes no number of more than 4300 digits
        raise Malformed("has a number of thousands of digits", "Write it in quotes.") from None
    if table is None:
        raise Malformed("TOML that cannot be read here", "Write it more simply.")
    return table


def _scanned(text: str) -> Table | None:
    """What the text says if it is TOML, but for what is there twice; else perhaps None.

    Raises:
        Malformed: It is nested too deeply, whether or not it is TOML.
    """
    try:
        return _Scan(text).table()
    except tomllib.TOMLDecodeError:
        return None
    except Malformed as error:
        if error.reason == TOO_DEEP:
            raise
        return None


def _has_repeated(table: Table) -> bool:
    keys = [entry.key for entry in table.entries]
    inner = (entry.node for entry in table.entries if isinstance(entry.node, Table))
    return len(set(keys)) < len(keys) or any(map(_has_repeated, inner))


def _refused(message: str) -> Malformed:
    found = _PLACE.search(message)
    reason = message[: found.start()] if found else message
    line, column = (int(found[1]), int(found[2])) if found and found[1] else (None, None)
    if found and found[1] is None:
        is_quote = reason.startswith(("Unterminated string", "Expected \"'"))
        return Malformed(NOT_CLOSED if is_quote else CUT_OFF, "Complete the file.")
    # What is quoted, but for a single character, is a piece of the file, and may be of a secret.
    reason = _QUOTED.sub("", f"{reason[:1].lower()}{reason[1:]}")
    return Malformed(f"not TOML: {reason}", "Correct the file.", line, column)


class _Scan:
    """One walk over a text that is TOML but for what is there twice. On any other text it may raise `Malformed`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._headed: set[tuple[str, ...]] = set()
        self._last: dict[tuple[int, str], Scalar | Items | Table] = {}
        """The last node of each key of each table, by the table's identity: there may be 100,000 of them in one."""

    def table(self) -> Table:
        root = Table(1)
        current = root
        while self._skip(_BLANK) and self._at < len(self._text):
            if self._text.startswith("[", self._at):
                current = self._header(root)
            else:
                self._pair(current, 0)
            self._skip(_SPACE)
            if not self._text.startswith(("#", "\n"), self._at) and self._at < len(self._text):
                raise self._lost()
        return root

    def _header(self, root: Table) -> Table:
        line = self._line
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        *above, last = path = self._key()
        self._expect("]]" if several else "]")
        holder = root
        for name in above:
            holder = self._inner(holder, name, line)
        if several:
            return self._appended(holder, last, line)
        known = tuple(path) in self._headed
        self._headed.add(tuple(path))
        if known and not self._is_in_list(root, path):
            return self._added(holder, last, line, Table(line))
        return self._inner(holder, last, line)

    def _pair(self, table: Table, depth: int) -> None:
        line = self._line
        *above, last = self._key()
        self._expect("=")
        self._skip(_SPACE)
        for name in above:
            table = self._inner(table, name, line)
        self._added(table, last, line, self._value(depth))

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            string = self._string()
            if string is None:
                bare = _BARE_KEY.match(self._text, self._at)
                if bare is None:
                    raise self._lost()
                self._at = bare.end()
                string = bare[0]
            parts.append(string)
            if len(parts) > DEEPEST:
                raise Malformed(TOO_DEEP, "Write it flatter.", self._line)
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, depth: int) -> Scalar | Items | Table:
        line = self._line
        if depth > DEEPEST - 2 and self._text.startswith(("[", "{"), self._at):
            raise Malformed(TOO_DEEP, "Write it flatter.", line)
        if self._text.startswith("[", self._at):
            return self._items(line, depth)
        if self._text.startswith("{", self._at):
            return self._inline(line, depth)
        string = self._string()
        if string is not None:
            return Scalar(string, line)
        bare = _BARE_VALUE.match(self._text, self._at)
        if bare is None or not bare[0].strip():
            raise self._lost()
        self._at = bare.end()
        return Scalar(_spelled(bare[0].strip()), line)

    def _items(self, line: int, depth: int) -> Items:
        items = Items(line)
        self._expect("[")
        while self._skip(_BLANK) and not self._text.startswith("]", self._at):
            items.nodes.append(self._value(depth + 1))
            self._skip(_BLANK)
            if not self._text.startswith("]", self._at):
                self._expect(",")
        self._expect("]")
        return items

    def _inline(self, line: int, depth: int) -> Table:
        table = Table(line)
        self._expect("{")
        while self._skip(_BLANK) and not self._text.startswith("}", self._at):
            self._pair(table, depth + 1)
            self._skip(_BLANK)
            if not self._text.startswith("}", self._at):
                self._expect(",")
        self._expect("}")
        return table

    def _added(self, holder: Table, name: str, line: int, node: N) -> N:
        holder.entries.append(Entry(name, line, node))
        self._last[id(holder), name] = node
        return node

    def _inner(self, holder: Table, name: str, line: int) -> Table:
        """The table of that name, made when it is missing; in a list of tables the last one."""
        node = self._last.get((id(holder), name))
        if isinstance(node, Items) and node.nodes and isinstance(node.nodes[-1], Table):
            return node.nodes[-1]
        return node if isinstance(node, Table) else self._added(holder, name, line, Table(line))

    def _appended(self, holder: Table, name: str, line: int) -> Table:
        """One more table at the end of the list of that name."""
        node, table = self._last.get((id(holder), name)), Table(line)
        if not isinstance(node, Items):
            node = self._added(holder, name, line, Items(line))
        node.nodes.append(table)
        return table

    def _is_in_list(self, root: Table, path: list[str]) -> bool:
        """Whether the path leads through a list of tables, each of which may have tables of the same names."""
        holder = root
        for name in path:
            node = self._last.get((id(holder), name))
            if not isinstance(node, Table):
                return isinstance(node, Items)
            holder = node
        return False

    def _string(self) -> str | None:
        for pattern in _STRINGS:
            found = pattern.match(self._text, self._at)
            if found is not None:
                self._move(found.end())
                return _unquoted(found[0])
        return None

    def _expect(self, mark: str) -> None:
        self._skip(_SPACE)
        if not self._text.startswith(mark, self._at):
            raise self._lost()
        self._at += len(mark)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._move(found.end())
        return True

    def _move(self, end: int) -> None:
        self._line += self._text.count("\n", self._at, end)
        self._at = end

    def _lost(self) -> Malformed:
        return Malformed("not TOML", "Correct the file.", self._line)


def _unquoted(string: str) -> str:
    if "\\" not in string and string[:3] not in ('"""', "'''"):
        return string[1:-1]
    return str(tomllib.loads(f"x = {string}")["x"])


def _spelled(token: str) -> str:
    """The number without what only eases reading it (1_000), in decimal; anything else as it is."""
    if _BASED.fullmatch(token):
        return str(int(token, 0))
    if _NUMBER.fullmatch(token) and not _DATE.match(token):
        return token.replace("_", "")
    return token
