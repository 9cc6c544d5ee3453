"""Finds what installed distributions advertise, without importing any of them.

The folders of `sys.path` are scanned here: that takes a third of the time of `importlib_metadata`, which is asked only
about what is not a folder (zip archives and eggs). pathlib is left alone too: importing it costs `--help` 3 ms.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import NamedTuple, Protocol

__all__ = ["APPS", "COMMANDS", "PLUGINS", "Distribution", "EntryPoint", "find", "installed", "load"]

PLUGINS = "eggycore.plugins"
APPS = "eggycore.apps"
COMMANDS = "eggycore.commands"

_METADATA_FILES = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}


class Distribution(NamedTuple):
    """An installed distribution, as its metadata says. `requires` are the texts of its Requires-Dist lines."""

    name: str
    version: str = ""
    requires: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


class EntryPoint(NamedTuple):
    """One advertised object. `value` is "module" or "module:object"."""

    group: str
    name: str
    value: str
    dist: Distribution


class _Folder(NamedTuple):
    """Something on the path that describes a distribution; `read` gives the text of one of its files, or ""."""

    stem: str
    metadata: str
    read: Callable[[str], str]


class _Archived(Protocol):
    """A distribution as importlib_metadata knows it."""

    def read_text(self, filename: str) -> str | None:
        """The text of one of its files, or None."""


def find(group: str, path: Sequence[str] | None = None) -> list[EntryPoint]:
    """The entry points of a group, sorted by name, then by distribution.

    Args:
        group: One of the groups of this module.
        path: Folders and archives to search; `sys.path` when None. The first distribution of a name wins, as on import.
    """
    found = []
    for folder in _folders(path):
        text = folder.read("entry_points.txt")
        if group in text and (advertised := list(_section(text, group))):
            dist = _distribution(folder)
            found += [EntryPoint(group, name, value, dist) for name, value in advertised]
    return sorted(found, key=lambda entry: (entry.name, entry.dist.name))


def installed(name: str, path: Sequence[str] | None = None) -> Distribution | None:
    """The installed distribution of this name, however it is spelt, or None."""
    wanted = _normalized(name)
    return next((_distribution(folder) for folder in _folders(path) if _normalized(folder.stem) == wanted), None)


def load(value: str) -> object:
    """Import what an entry point's value names. Whatever the import raises is raised."""
    module, _, attributes = value.partition("[")[0].strip().partition(":")
    loaded: object = import_module(module)
    for attribute in filter(None, attributes.split(".")):
        loaded = getattr(loaded, attribute)
    return loaded


def _folders(path: Sequence[str] | None) -> Iterator[_Folder]:
    seen: set[str] = set()
    for entry in dict.fromkeys(sys.path if path is None else path):
        for folder in _folders_in(entry or "."):
            if (key := _normalized(folder.stem)) not in seen:
                seen.add(key)
                yield folder


def _folders_in(entry: str) -> Iterator[_Folder]:
    if entry.endswith(".egg"):
        yield from _archived(entry)
        return
    try:
        names = sorted(os.listdir(entry))  # noqa: PTH208 -- see above
    except NotADirectoryError:
        yield from _archived(entry)
        return
    except OSError:  # not there, or not readable: nothing can be imported from it either
        return
    for name in names:
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 -- see above
        if (metadata := _METADATA_FILES.get(suffix)) is not None:
            yield _Folder(stem.partition("-")[0], metadata, partial(_read, f"{entry}/{name}"))


def _read(folder: str, name: str) -> str:
    try:
        with open(f"{folder}/{name}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 -- see above
            return file.read()
    except OSError:  # most distributions advertise nothing
        return ""


def _archived(entry: str) -> Iterator[_Folder]:
    if not os.path.exists(entry):  # noqa: PTH110 -- see above
        return
    import importlib_metadata

    for dist in importlib_metadata.distributions(path=[entry]):
        read = partial(_read_archived, dist)
        yield _Folder(str(dist.metadata["Name"]), "METADATA" if read("METADATA") else "PKG-INFO", read)


def _read_archived(dist: _Archived, name: str) -> str:
    return dist.read_text(name) or ""


def _section(text: str, group: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == group and "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _distribution(folder: _Folder) -> Distribution:
    name, version, requires = folder.stem, "", []
    for line in folder.read(folder.metadata).splitlines():
        if not line:  # the headers end here; what follows is the README
            break
        key, _, value = line.partition(": ")
        if key == "Name":
            name = value.strip()
        elif key == "Version":
            version = value.strip()
        elif key == "Requires-Dist":
            requires.append(value.strip())
    return Distribution(name, version, tuple(requires))


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
