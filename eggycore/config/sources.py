"""Where values come from: layers, of which a later one wins over an earlier one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eggycore.config.declared import FILE_SUFFIX
from eggycore.errors import ConfigProblem

if TYPE_CHECKING:
    from eggycore.config.documents import Document

__all__ = ["APP_NAME", "COMMAND_LINE", "FORCED", "Found", "Layer", "Layers", "Sources", "Unreadable"]

APP_NAME = "the app's name"
COMMAND_LINE = "--set"
FORCED = "--environment"

_FILE_LIMIT = 1_048_576
"""Bytes that a file named by KEY_FILE may hold."""


@dataclass(frozen=True)
class Sources:
    """Where to look for values. Never shows them.

    Args:
        environ: The process environment; it is read and never written.
        folder: Where .env and the folder config/ are looked for, and what relative paths in KEY_FILE and CONFIG_DIR
            start from. None: there is neither, unless CONFIG_DIR is set, and they start from the current folder.
        overrides: What the command line set with --set.
        defaults: Values that stand below every other source: SERVICE_NAME, from the app's name.
        overlays: What is laid over the environment while the process runs; a later one wins. Keys that are secret,
            unknown or wait for a restart are left out, and told by `Configuration.ignored`.
        environment: What ENVIRONMENT is taken to be, whatever is set: for a check of another environment's files.
    """

    environ: Mapping[str, str] = field(repr=False)
    folder: Path | None
    overrides: Mapping[str, str] = field(default_factory=dict, repr=False)
    defaults: Mapping[str, str] = field(default_factory=dict, repr=False)
    overlays: tuple[Layer, ...] = field(default=(), repr=False)
    environment: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Layer:
    """The values of one source, or of several of one rank. Never shows them.

    Args:
        origin: What the source is called: "environment", ".env".
        values: The texts, by the name of the variable.
        lines: The line of each, from 1, when the source is a file.
        origins: What the source of a value is called where it is not `origin`.
        lists: The variables that are written as lists.
        referring: The variables whose texts refer to others with `${NAME}`, and are expanded here.
        tables: Names that hold more names, each with where it is written.
    """

    origin: str
    values: Mapping[str, str] = field(repr=False)
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    lists: frozenset[str] = frozenset()
    tables: Mapping[str, str] = field(default_factory=dict, repr=False)
    referring: frozenset[str] = frozenset()

    @classmethod
    def of(cls, document: Document, origin: str) -> Layer:
        """What a document sets; its problems are for whoever has read it."""
        tables = {name: f"{origin} line {line}" for name, line in document.tables.items()}
        return cls(origin, document.values, document.lines, lists=document.lists, tables=tables)

    def origin_of(self, key: str) -> str:
        """Where exactly the key is set, for example ".env line 3"."""
        line, origin = self.lines.get(key), self.origins.get(key, self.origin)
        return origin if line is None else f"{origin} line {line}"


@dataclass(frozen=True)
class Found:
    """A value that a layer sets, under which name: its text, or the file that holds it.

    `listed` tells that it is written as a list: the text is the words with commas between them. `refers` tells that
    the source does not say the text itself, because it refers to other variables with `${NAME}`.
    """

    origin: str
    name: str
    text: str | None = field(default=None, repr=False)
    file: str | None = None
    listed: bool = False
    refers: bool = False

    def origin_of(self, key: str) -> str:
        """The origin of the value of `key`: the file, and where the file was named, when there is one.

        What was set under another name says so: "environment, as DB_HOST".
        """
        if self.file is not None:
            where = "the environment" if self.origin == "environment" else self.origin
            return f"{self.file} ({self.name}{FILE_SUFFIX} in {where})"
        return self.origin if self.name == key else f"{self.origin}, as {self.name}"


class Unreadable(Exception):
    """A value cannot be had from where it is set; `problem` says why."""

    def __init__(self, problem: ConfigProblem) -> None:
        super().__init__(problem.reason)
        self.problem = problem


@dataclass(frozen=True)
class Layers:
    """All layers of one reading, the strongest first.

    Args:
        layers: All of them.
        folder: What relative paths start from.
        files: Those of `layers` that are files of config/.
        whole: Whether each of those files could be read; else nobody knows what is set and what is not.
    """

    layers: tuple[Layer, ...]
    folder: Path = Path()
    files: tuple[Layer, ...] = ()
    whole: bool = True

    def find(self, names: Iterable[str]) -> tuple[Found, ...]:
        """What each layer says that sets one of the names, the winner first: the first name, in the strongest layer.

        Raises:
            Unreadable: One layer sets both a name and its file.
        """
        return tuple(found for name in names for layer in self.layers for found in _in_layer(layer, name))

    def text_of(self, found: Found) -> str:
        """The text of a value, read from its file where it names one, without the line ends that close the file.

        Raises:
            Unreadable: The file cannot be read.
        """
        if found.text is not None:
            return found.text
        path = self.folder / (found.file or "")
        try:
            return _content(path)
        except (OSError, ValueError) as error:
            raise Unreadable(
                ConfigProblem(
                    key=found.name + FILE_SUFFIX,
                    value=found.file,
                    reason=_why(error),
                    origin=found.origin,
                    action=f"Make it the path of a file that this user can read, or set {found.name} instead.",
                )
            ) from None

    def names(self) -> Iterator[tuple[str, str]]:
        """Each variable that people set (not the defaults), with its origin; the strongest layer first."""
        for layer in self.layers:
            if layer.origin != APP_NAME:
                yield from ((key, layer.origin_of(key)) for key in layer.values)

    def names_in_files(self) -> Iterator[tuple[str, str]]:
        """Each variable that a file of config/ sets, with its origin."""
        for layer in self.files:
            yield from ((key, layer.origin_of(key)) for key in layer.values)

    def under(self, overlays: tuple[Layer, ...]) -> Layers:
        """The same with these, the strongest first, below the command line and above the environment."""
        above = sum(layer.origin in (FORCED, COMMAND_LINE) for layer in self.layers)
        return replace(self, layers=(*self.layers[:above], *overlays, *self.layers[above:]))


def _in_layer(layer: Layer, key: str) -> Iterator[Found]:
    text, file = layer.values.get(key), layer.values.get(key + FILE_SUFFIX)
    if text is not None and file is not None:
        raise Unreadable(
            ConfigProblem(
                key=key,
                reason=f"set twice, by {key} and by {key}{FILE_SUFFIX}",
                origin=_of_both(layer.origin_of(key), layer.origin_of(key + FILE_SUFFIX)),
                action=f"Remove {key} or {key}{FILE_SUFFIX}.",
            )
        )
    if text is not None:
        yield Found(layer.origin_of(key), key, text=text, listed=key in layer.lists, refers=key in layer.referring)
    elif file is not None:
        yield Found(layer.origin_of(key + FILE_SUFFIX), key, file=file)


def _of_both(one: str, other: str) -> str:
    return one if one == other else f"{one} and in {other}"


def _content(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        content = file.read(_FILE_LIMIT + 1)
    if len(content) > _FILE_LIMIT:
        raise ValueError("more than 1 MiB long")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "a file that this user may not read"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return str(error)
