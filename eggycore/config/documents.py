"""A document of configuration, in JSON, TOML or YAML: nested keys become variables, and each keeps its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from eggycore.config.nodes import Items, Malformed, Node, Scalar, Table
from eggycore.errors import ConfigProblem

__all__ = ["EXTENSIONS", "LONGEST", "Document", "Format", "format_of", "parse_bytes", "parse_document"]

Format = Literal["json", "toml", "yaml"]

EXTENSIONS: Final[Mapping[str, Format]] = {".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
"""The format of a file, by how its name ends."""

LONGEST: Final = 1_048_576
"""Bytes that a document may hold."""

_MOST_NODES = 50_000
_LONGEST_KEY = 256


@dataclass(frozen=True)
class Document:
    """What a document sets, by the name of the variable, and what is wrong with it. Values are never shown.

    Args:
        values: The text of each variable; a list as its words with commas between them. "" is null.
        lines: The line of each, from 1.
        lists: The variables that are written as lists.
        tables: The names that hold more names, each with its line.
        problems: What is wrong.
        failed: The document could not be read: there is one problem, and nothing else.
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)
    lists: frozenset[str] = frozenset()
    tables: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[ConfigProblem, ...] = ()
    failed: bool = False


def format_of(name: str) -> Format | None:
    """The format of a file of this name; None when it is none of configuration."""
    return EXTENSIONS.get(f".{name.rpartition('.')[2]}") if "." in name else None


def parse_bytes(content: bytes, *, name: str, format: Format, module: str = "") -> Document:
    """Like `parse_document`, of what a file holds."""
    if len(content) > LONGEST:
        return _failed(name, "more than 1 MiB long", "Split it, or make it what it was.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _failed(name, "not UTF-8", "Save the file as UTF-8.", line)
    return parse_document(text, name=name, format=format, module=module)


def parse_document(text: str, *, name: str, format: Format, module: str = "") -> Document:
    """Read a document; what is wrong with it is in its problems, and never quotes it.

    A key in a table in a table is one name, joined with "_", in upper case, with "_" for "-". Texts, numbers and
    booleans stay what is written, until the type of the variable is known. `$schema` at the top is for editors.

    Args:
        text: The document.
        name: What it is called in problems: "config/production.toml".
        format: What it is written in.
        module: A key that all keys of the document lie in, unless they begin with it; "" for none.
    """
    try:
        _check_text(text)
        root = _root(text.removeprefix("\ufeff"), format)
        flat = _Flat(name, _joined((module,)) if module else "")
        flat.table(root, ())
    except Malformed as error:
        return _failed(name, error.reason, error.action, error.line, error.column)
    return flat.document()


def _check_text(text: str) -> None:
    if not text.strip("\ufeff \t\r\n"):
        raise Malformed("empty, as if half written", "Write it, or remove it.")
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise Malformed("not UTF-8", "Save the file as UTF-8.", text.count("\n", 0, error.start) + 1) from None
    if length > LONGEST:
        raise Malformed("more than 1 MiB long", "Split it, or make it what it was.")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise Malformed("holds a NUL character, as if binary", "Make it a text.", line)


def _root(text: str, format: Format) -> Table:
    """The table that the document is.

    Raises:
        Malformed: It is none.
    """
    node = _node(text, format)
    if node is None:
        return Table(1)
    if not isinstance(node, Table):
        what = "a list" if isinstance(node, Items) else "a single value"
        raise Malformed(f"{what}, not a table", "Write keys with their values.", node.line)
    return node


def _node(text: str, format: Format) -> Node | None:
    match format:
        case "json":
            from eggycore.config.json_nodes import read_json

            return read_json(text)
        case "toml":
            from eggycore.config.toml_nodes import read_toml

            return read_toml(text)
        case "yaml":
            from eggycore.config.yaml_nodes import read_yaml

            return read_yaml(text)


class _Flat:
    """Collects the variables of a document, and its problems."""

    def __init__(self, name: str, module: str) -> None:
        self._name = name
        self._module = module
        self._values: dict[str, str] = {}
        self._lines: dict[str, int] = {}
        self._lists: set[str] = set()
        self._tables: dict[str, int] = {}
        self._problems: list[ConfigProblem] = []
        self._count = 0

    def document(self) -> Document:
        return Document(self._values, self._lines, frozenset(self._lists), self._tables, tuple(self._problems))

    def table(self, table: Table, path: tuple[str, ...]) -> None:
        first: dict[str, int] = {}
        for entry in table.entries:
            self._counted(entry.line)
            if entry.key == "$schema" and not path:
                continue
            name = self._variable((*path, entry.key), entry.line)
            if entry.key in first:
                self._twice(name, first[entry.key], entry.line)
            else:
                first[entry.key] = entry.line
                self._entry(name, (*path, entry.key), entry.line, entry.node)

    def _entry(self, name: str, path: tuple[str, ...], line: int, node: Node) -> None:
        if not isinstance(node, Items | Scalar):
            self._tables.setdefault(name, line)
            self.table(node, path)
        elif name in self._lines:
            self._twice(name, self._lines[name], line)
        else:
            self._lines[name] = line
            if isinstance(node, Items):
                self._list(name, line, node)
            else:
                self._values[name] = node.text or ""

    def _list(self, name: str, line: int, items: Items) -> None:
        words = []
        for node in items.nodes:
            self._counted(node.line)
            reason = _no_word(node)
            if reason is not None:
                self._problem(name, reason, node.line, "Write words, numbers or booleans.")
                return
            words.append(getattr(node, "text", None) or "")
        self._values[name] = ",".join(words)
        self._lists.add(name)

    def _counted(self, line: int) -> None:
        """Count one node more: an alias of YAML may stand for as many as there are grains of sand."""
        self._count += 1
        if self._count > _MOST_NODES:
            raise Malformed(f"has more than {_MOST_NODES} values", "Split it, or use fewer aliases.", line)

    def _twice(self, name: str, first: int, second: int) -> None:
        self._problem(name, f"set twice, in line {first} and in line {second}", second, "Remove one of the two.")

    def _variable(self, path: tuple[str, ...], line: int) -> str:
        _check_key(path[-1], line)
        name = _joined(path)
        within = f"{self._module}_"
        return name if not self._module or f"{name}_".startswith(within) else within + name

    def _problem(self, key: str, reason: str, line: int, action: str) -> None:
        origin = f"{self._name} line {line}"
        self._problems.append(ConfigProblem(key=key, reason=reason, origin=origin, action=action))


def _no_word(node: Node) -> str | None:
    """Why a node cannot be one word of a list; None when it can."""
    if not isinstance(node, Scalar):
        return "a list of tables or lists"
    if node.text is None or not node.text.strip():
        return "a list with an empty word"
    return "a list with a comma inside a word" if "," in node.text else None


def _check_key(key: str, line: int) -> None:
    if len(key) > _LONGEST_KEY:
        raise Malformed(f"has a key of more than {_LONGEST_KEY} characters", "Make it a name.", line)
    if not key.strip():
        raise Malformed("has an empty key", "Make it a name.", line)


def _joined(path: tuple[str, ...]) -> str:
    return "_".join(path).replace("-", "_").upper()


def _failed(name: str, reason: str, action: str, line: int | None = None, column: int | None = None) -> Document:
    place = "".join(f", {what} {number}" for what, number in (("line", line), ("column", column)) if number)
    return Document(problems=(ConfigProblem(key=f"{name}{place}", reason=reason, action=action),), failed=True)
