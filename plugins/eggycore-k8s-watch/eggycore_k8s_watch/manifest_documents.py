"""Reads Kubernetes manifests so that everything in them knows its file and line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from eggycore_k8s_watch.manifest_errors import ManifestUnreadable

__all__ = ["Document", "Place", "read_files", "read_text"]

STANDARD_INPUT = "-"

_LIMIT = 4 * 1024 * 1024
"""Bytes of one file. The API server takes no object above 1.5 MiB; what is larger is not meant for it."""

_NODES = 100_000
"""Nodes of one file, aliases followed: a few lines of aliases of aliases could make billions."""

_SUFFIXES = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Place:
    """Something in a manifest: a mapping, a list or a scalar, and where it stands. `repr` shows no value.

    Looking for what is not there, or is of another shape, finds a place that is nothing, at the nearest line.
    """

    line: int
    value: object = field(default=None, repr=False)

    def __getitem__(self, key: str) -> Place:
        """The field of a mapping."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return found if isinstance(found, Place) else Place(self.line)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def __bool__(self) -> bool:
        """Whether there is something."""
        return self.value is not None

    def at(self, *keys: str) -> Place:
        """The field of a field."""
        place = self
        for key in keys:
            place = place[key]
        return place

    @property
    def items(self) -> Sequence[Place]:
        """The items of a list; none of anything else."""
        return self.value if isinstance(self.value, list) else ()

    @property
    def fields(self) -> Iterable[tuple[str, Place]]:
        """The fields of a mapping; none of anything else."""
        return self.value.items() if isinstance(self.value, dict) else ()

    @property
    def text(self) -> str:
        """A string; "" for anything else."""
        return self.value if isinstance(self.value, str) else ""

    def number(self, default: int) -> int:
        """A whole number; the default for anything else."""
        return self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else default

    @property
    def labels(self) -> dict[str, str]:
        """The mapping as labels."""
        return {key: one.text for key, one in self.fields}


@dataclass(frozen=True)
class Document:
    """One object.

    Args:
        file: Where it was read.
        root: All of it.
        repeated: Keys that stand twice in one mapping, with the line of the second.
    """

    file: str
    root: Place
    repeated: tuple[tuple[str, int], ...] = ()

    @property
    def kind(self) -> str:
        return self.root["kind"].text

    @property
    def name(self) -> str:
        return self.root.at("metadata", "name").text

    @property
    def namespace(self) -> str:
        """Where it goes; "" where kubectl decides."""
        return self.root.at("metadata", "namespace").text

    def __str__(self) -> str:
        return f"{self.kind} {self.name or '(without a name)'}"


def read_files(names: Sequence[str]) -> list[Document]:
    """The objects in all these files, and in the YAML and JSON files of these folders.

    Args:
        names: Paths, or "-" for standard input.

    Raises:
        ManifestUnreadable: One of them cannot be read, or there is no object in any.
    """
    documents = [document for name in names for file in _files(name) for document in _read(file)]
    if not documents:
        raise ManifestUnreadable(
            file=", ".join("standard input" if name == STANDARD_INPUT else name for name in names),
            reason="there is no object",
            action="Name the files that kubectl is to apply.",
        )
    return documents


def _files(name: str) -> Iterator[str]:
    path = Path(name)
    if name != STANDARD_INPUT and path.is_dir():
        yield from (str(one) for one in sorted(path.iterdir()) if one.suffix in _SUFFIXES and one.is_file())
    else:
        yield name


def _read(name: str) -> list[Document]:
    shown = "standard input" if name == STANDARD_INPUT else name
    try:
        if name == STANDARD_INPUT:
            content = sys.stdin.buffer.read(_LIMIT + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(_LIMIT + 1)
    except OSError as error:
        raise ManifestUnreadable(
            file=shown,
            reason="there is no such file" if isinstance(error, FileNotFoundError) else f"{error.strerror}",
            action="Correct the path, or make the file readable for this user.",
        ) from None
    if len(content) > _LIMIT:
        raise ManifestUnreadable(shown, "it is longer than 4 MiB", "Name the files that kubectl is to apply.")
    try:
        return read_text(content.decode(), shown)
    except UnicodeDecodeError:
        raise ManifestUnreadable(shown, "it is not UTF-8", "Save it as UTF-8.") from None


def read_text(text: str, file: str) -> list[Document]:
    """The objects in a text; those of a List one by one.

    Raises:
        ManifestUnreadable: It is no YAML, or holds something else than objects.
    """
    reader = _Reader(file)
    documents: list[Document] = []
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            reader.repeated = []
            root = reader.place(node)
            if root:
                documents += _objects(root, file, text, reader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        what = "a template, not YAML" if "{{" in text else _without_words(error.problem or "not YAML")
        raise ManifestUnreadable(file, f"{where}{what}", _hint(text)) from None
    except (yaml.YAMLError, RecursionError):
        raise ManifestUnreadable(
            file, "it is not YAML: characters or nesting that no manifest has", _hint(text)
        ) from None
    return documents


def _without_words(problem: str) -> str:
    """What PyYAML says, without words of the file: the name of an alias may be a password that begins with *."""
    return re.sub(r" '(?!<)[^']{3,}'", "", problem)


def _hint(text: str) -> str:
    if "{{" in text:
        return "Render it first, and check the result: helm template . | eggycore k8s check -"
    return "Correct the file; kubectl apply --dry-run=client -f FILE reads it likewise."


def _objects(root: Place, file: str, text: str, reader: _Reader) -> Iterator[Document]:
    if not isinstance(root.value, dict) or not root["kind"].text or not root["apiVersion"].text:
        raise ManifestUnreadable(
            file,
            f"line {root.line}: not an object with apiVersion and kind",
            _hint(text) if "{{" in text else "Name files with Kubernetes objects only, rendered as kubectl gets them.",
        )
    if root["kind"].text == "List":
        for item in root["items"].items:
            yield from _objects(item, file, text, reader)
    else:
        yield Document(file, root, tuple(reader.repeated))


class _Reader:
    """Turns the nodes of one file into places."""

    def __init__(self, file: str) -> None:
        self.repeated: list[tuple[str, int]] = []
        self._file = file
        self._left = _NODES
        self._open: set[int] = set()
        self._constructor = yaml.constructor.SafeConstructor()

    def place(self, node: yaml.Node | None) -> Place:
        if node is None:
            return Place(1)
        self._left -= 1
        if self._left < 0 or id(node) in self._open:
            raise ManifestUnreadable(
                self._file,
                f"it holds more than {_NODES} values, aliases followed",
                "Write it without aliases of aliases.",
            )
        self._open.add(id(node))
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            place = Place(line, self._mapping(node))
        elif isinstance(node, yaml.SequenceNode):
            place = Place(line, [self.place(one) for one in node.value])
        else:
            place = Place(line, self._scalar(node))
        self._open.discard(id(node))
        return place

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Place]:
        own = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, (key, _) in enumerate(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value in own[:number] and key.value != "<<":
                self.repeated.append((key.value, key.start_mark.line + 1))
        self._constructor.flatten_mapping(node)  # what << brings stands first, so that the own keys win
        return {str(key.value): self.place(value) for key, value in node.value}

    def _scalar(self, node: yaml.Node) -> object:
        try:
            return self._constructor.construct_object(node)
        except (ValueError, yaml.YAMLError):  # 2020-13-40 looks like a date, and !Ref is no tag of Kubernetes
            return str(node.value)
