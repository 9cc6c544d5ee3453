"""The files of the folder config/: base.* and <environment>.*, there and in one folder for each module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from eggycore.config.declared import FILE_SUFFIX
from eggycore.config.documents import EXTENSIONS, LONGEST, Document, parse_bytes
from eggycore.config.expansion import Unexpanded, expanded
from eggycore.config.sources import Layer
from eggycore.errors import ConfigProblem

__all__ = ["ENVIRONMENTS", "ConfigFiles", "read_config_files"]

ENVIRONMENTS: Final = ("development", "staging", "production")
"""The environments that there are without a file."""

_BASE = "base"
_CHOOSING = tuple(f"{key}{suffix}" for key in ("ENVIRONMENT", "CONFIG_DIR") for suffix in ("", FILE_SUFFIX))
_ATTEMPTS = 5
_MARK = "..data"
"""The link that Kubernetes replaces when the content of a mounted ConfigMap changes."""


@dataclass(frozen=True)
class ConfigFiles:
    """What the files of a folder say.

    Args:
        base: What those named base set, in all formats and modules.
        environment: What those named for the environment set.
        environments: The environments that the folder knows; none when it holds no file for one.
        problems: What is wrong with the files.
        whole: Whether each of the files could be read.
    """

    base: Layer
    environment: Layer
    environments: tuple[str, ...] = ()
    problems: tuple[ConfigProblem, ...] = ()
    whole: bool = True


@dataclass(frozen=True)
class _File:
    """A file of the folder: its module ("" when it is none's), its stem ("base"), where it is, and its shown name."""

    module: str
    stem: str
    path: Path
    shown: str


@dataclass(frozen=True)
class _Listing:
    """The files of configuration, and what could not be listed or read."""

    files: list[_File] = field(default_factory=list)
    problems: list[ConfigProblem] = field(default_factory=list)


def read_config_files(
    folder: Path, *, shown: str, environment: str, lookup: Callable[[str], str | None]
) -> ConfigFiles | None:
    """Read the files for this environment, each at once, and all of a mounted ConfigMap from one version of it.

    Args:
        folder: Where they are.
        shown: What the folder is called in origins and reports.
        environment: Which of them count.
        lookup: What `${NAME}` stands for.

    Returns:
        What they say; None when there is no such folder.
    """
    for attempt in range(_ATTEMPTS):
        listing = _Listing()
        try:
            listing.files.extend(sorted(_files(folder, shown, listing.problems), key=lambda file: file.shown))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            listing.problems.append(_unreadable(shown, error))
        folders = {folder, *(file.path.parent for file in listing.files)}
        before = _marks(folders)
        chosen = [file for file in listing.files if file.stem in (_BASE, environment)]
        documents = [(file, _document(file)) for file in chosen]
        if attempt + 1 == _ATTEMPTS or _marks(folders) == before:
            break
    base, wrong_in_base = _rank(documents, _BASE, f"{shown}/{_BASE}.*", lookup)
    own, wrong_in_own = _rank(documents, environment, f"{shown}/{environment}.*", lookup)
    stems = {file.stem for file in listing.files}
    known = (*ENVIRONMENTS, *sorted(stems - {_BASE, *ENVIRONMENTS}))
    return ConfigFiles(
        base,
        own if environment != _BASE else Layer(own.origin, {}),
        known if stems & {_BASE, *ENVIRONMENTS} else (),
        (*listing.problems, *wrong_in_base, *(wrong_in_own if environment != _BASE else ())),
        whole=not listing.problems and not any(document.failed for _, document in documents),
    )


def _files(folder: Path, shown: str, problems: list[ConfigProblem], module: str = "") -> Iterator[_File]:
    """Every file whose name ends as one of configuration does, in the folder and in those of modules."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            stem, extension = os.path.splitext(entry.name)  # noqa: PTH122  (of an entry of scandir; a Path costs more)
            name = f"{shown}/{entry.name}"
            if entry.is_dir():
                if not module:
                    yield from _module(Path(entry.path), name, problems)
            elif extension in EXTENSIONS:
                yield _File(module, stem, Path(entry.path), name)


def _module(folder: Path, shown: str, problems: list[ConfigProblem]) -> Iterator[_File]:
    try:
        yield from _files(folder, shown, problems, folder.name)
    except OSError as error:
        problems.append(_unreadable(shown, error))


def _marks(folders: set[Path]) -> dict[Path, str]:
    marks = {}
    for folder in folders:
        try:
            marks[folder] = os.readlink(folder / _MARK)  # noqa: PTH115  (the text is enough)
        except OSError:  # no mount of Kubernetes, as on every laptop
            continue
    return marks


def _document(file: _File) -> Document:
    try:
        if file.path.exists() and not file.path.is_file():
            raise OSError(None, "not a regular file")  # a pipe would wait for a writer
        with file.path.open("rb") as opened:
            content = opened.read(LONGEST + 1)
    except OSError as error:
        return Document(problems=(_unreadable(file.shown, error),), failed=True)
    return parse_bytes(content, name=file.shown, format=EXTENSIONS[file.path.suffix], module=file.module)


def _unreadable(shown: str, error: OSError) -> ConfigProblem:
    reason = f"cannot be read: {(error.strerror or type(error).__name__).lower()}"
    return ConfigProblem(key=shown, reason=reason, action="Make it readable for this user, or remove it.")


def _rank(
    documents: Sequence[tuple[_File, Document]], stem: str, origin: str, lookup: Callable[[str], str | None]
) -> tuple[Layer, list[ConfigProblem]]:
    """What all files of this stem say together, and what is wrong with that."""
    rank = _Rank(origin, lookup)
    for file, document in documents:
        if file.stem == stem:
            rank.add(file.shown, document)
    return rank.layer(), rank.problems


class _Rank:
    """Collects the variables of files of which none wins over another."""

    def __init__(self, origin: str, lookup: Callable[[str], str | None]) -> None:
        self.problems: list[ConfigProblem] = []
        self._origin = origin
        self._lookup = lookup
        self._values: dict[str, str] = {}
        self._origins: dict[str, str] = {}
        self._lists: set[str] = set()
        self._tables: dict[str, str] = {}
        self._referring: set[str] = set()

    def layer(self) -> Layer:
        return Layer(
            self._origin,
            self._values,
            origins=self._origins,
            lists=frozenset(self._lists),
            tables=self._tables,
            referring=frozenset(self._referring),
        )

    def add(self, shown: str, document: Document) -> None:
        self.problems.extend(document.problems)
        for name, line in document.tables.items():
            self._tables.setdefault(name, f"{shown} line {line}")
        texts: Mapping[str, str] = document.values
        for name, text in texts.items():
            origin = f"{shown} line {document.lines[name]}"
            problem = self._refusal(name, origin)
            if problem is not None:
                self.problems.append(problem)
            else:
                self._origins[name] = origin
                self._set(name, text, name in document.lists)

    def _refusal(self, name: str, origin: str) -> ConfigProblem | None:
        if name in _CHOOSING:
            return ConfigProblem(
                key=name,
                reason="cannot be set in a file of configuration, which it is to choose",
                origin=origin,
                action="Set it in the environment, in .env or with --set.",
            )
        if name in self._origins:
            return ConfigProblem(
                key=name,
                reason=f"set twice, in {self._origins[name]} and in {origin}",
                origin=origin,
                action="Remove one of the two.",
            )
        return None

    def _set(self, name: str, text: str, listed: bool) -> None:
        try:
            self._values[name] = expanded(text, self._lookup)
        except Unexpanded as error:
            origin = self._origins[name]
            self.problems.append(ConfigProblem(key=name, reason=error.reason, origin=origin, action=error.action))
        else:
            if listed:
                self._lists.add(name)
            if "${" in text.replace("$${", ""):
                self._referring.add(name)
