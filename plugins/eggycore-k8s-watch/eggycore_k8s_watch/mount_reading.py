"""Reads the folder in which a ConfigMap is mounted as one state: never a mixture of two."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eggycore.config.documents import format_of
from eggycore.errors import ConfigProblem

__all__ = ["MAX_BYTES", "Reading", "origin_of", "read_mount"]

MAX_BYTES = 1024 * 1024
"""Of one file: Kubernetes holds no ConfigMap that is larger."""

STABLE = 0.05
"""Seconds between two looks at a folder of plain files, which must not differ."""

ATTEMPTS = 20
"""How often a folder that changes while it is read is read anew."""

_DATA = "..data"
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")

_State = tuple[Mapping[str, bytes], Mapping[str, str], Mapping[str, tuple[int, int]]]
"""By file: the content, why it cannot be read, and which file it is with the time of its last change."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the files of a folder hold at one moment.

    Args:
        texts: The content by file.
        ignored: Why by file that cannot be used, of those whose names nobody would take for a variable or a document.
        problems: What makes it unusable as a whole. Holds no values.
    """

    texts: Mapping[str, str]
    ignored: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[ConfigProblem, ...] = ()


class _Moved(Exception):
    """The folder has changed while it was read."""


def origin_of(folder: Path) -> str:
    """What values from there are said to come from."""
    return f"ConfigMap mounted at {folder}"


def read_mount(folder: Path) -> Reading:
    """Read all files of the folder. Blocks: for a worker thread.

    Where kubelet has mounted a volume, `..data` leads to the folder of one state, and all files are read in that; when
    it leads elsewhere afterwards, they are read again. Plain files are read until two looks in a row are the same.
    """
    for _ in range(ATTEMPTS):
        try:
            contents, failures, _ = _swapped(folder) if (folder / _DATA).is_symlink() else _plain(folder)
        except _Moved:
            continue
        except OSError as error:
            return Reading(texts={}, problems=(_no_folder(folder, error),))
        return _reading(folder, contents, failures)
    problem = ConfigProblem(
        key=origin_of(folder),
        reason=f"changes while it is read, {ATTEMPTS} times in a row",
        action="Look at what writes there so often; write a new file beside the old one and rename it.",
    )
    return Reading(texts={}, problems=(problem,))


def _swapped(folder: Path) -> _State:
    target = (folder / _DATA).readlink()
    try:
        state = _files(folder / target)
    except FileNotFoundError as error:
        if (folder / _DATA).readlink() != target:
            raise _Moved from error
        raise
    if (folder / _DATA).readlink() != target:
        raise _Moved
    return state


def _plain(folder: Path) -> _State:
    before = _files(folder)
    time.sleep(STABLE)
    after = _files(folder)
    if before != after:
        raise _Moved
    return after


def _files(folder: Path) -> _State:
    contents: dict[str, bytes] = {}
    failures: dict[str, str] = {}
    changes: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.iterdir()):
        name = path.name
        if name.startswith("."):
            continue  # kubelet's own, an editor's, or a key that no variable and no document can have
        try:
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                contents[name] = _content(path)
                changes[name] = status.st_ino, status.st_ctime_ns
        except FileNotFoundError as error:
            raise _Moved from error
        except OSError as error:
            failures[name] = f"cannot be read: {error.strerror or type(error).__name__}"
    return contents, failures, changes


def _content(path: Path) -> bytes:
    """One byte more than is allowed, when there are more."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _reading(folder: Path, contents: Mapping[str, bytes], failures: Mapping[str, str]) -> Reading:
    texts: dict[str, str] = {}
    wrong = dict(failures)
    for name, content in contents.items():
        if len(content) > MAX_BYTES:
            wrong[name] = "larger than 1 MiB"
        elif (text := _text(content)) is None:
            wrong[name] = "binary data, not text in UTF-8"
        else:
            texts[name] = text
    problems = tuple(
        ConfigProblem(
            key=f"{origin_of(folder)}, key {name}",
            reason=why,
            action="Make it a text of at most 1 MiB that this user can read, or take it out of the ConfigMap.",
        )
        for name, why in sorted(wrong.items())
        if _is_meant(name)
    )
    ignored = {name: why for name, why in sorted(wrong.items()) if not _is_meant(name)}
    return Reading(texts=texts, ignored=ignored, problems=problems)


def _is_meant(name: str) -> bool:
    """Whether a file is there to be read by us: other files may be whatever they are."""
    return format_of(name) is not None or _VARIABLE.fullmatch(name) is not None


def _text(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _no_folder(folder: Path, error: OSError) -> ConfigProblem:
    return ConfigProblem(
        key=origin_of(folder),
        reason=f"the folder cannot be read: {error.strerror or type(error).__name__}",
        action="Mount the ConfigMap there as a volume, or correct K8S_CONFIG_DIR.",
    )
