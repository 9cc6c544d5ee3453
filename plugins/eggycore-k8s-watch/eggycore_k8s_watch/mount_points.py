"""Finds out what of a mounted ConfigMap Kubernetes never updates: what is mounted with subPath."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MOUNTS", "fixed_mounts"]

MOUNTS = Path("/proc/self/mountinfo")
"""Where Linux lists the mounts that this process sees; see proc_pid_mountinfo(5)."""

_ESCAPED = re.compile(r"\\([0-7]{3})")
_STATE_FOLDER = re.compile(r"\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+")
"""The folder of one state of a volume. Whatever is mounted out of it stays in that state."""


def fixed_mounts(folder: Path, mounts: Path = MOUNTS) -> tuple[Path, ...]:
    """The files in the folder that are mounts of their own, and the folder itself when it was mounted with subPath.

    A subPath is bound to the state that the volume has when the container starts, so that no update ever reaches it.

    Args:
        folder: Where the ConfigMap is mounted.
        mounts: The list of mounts; where there is none, nothing is found.
    """
    try:
        text = mounts.read_text(errors="surrogateescape")
    except OSError:
        return ()
    place = folder.resolve()
    found = {point for root, point in _mounts(text) if _is_fixed(place, root, point)}
    return tuple(sorted(found))


def _is_fixed(folder: Path, root: str, point: Path) -> bool:
    if point == folder or point in folder.parents:
        return _STATE_FOLDER.search(root) is not None
    return point.parent == folder and not point.is_dir()


def _mounts(text: str) -> Iterator[tuple[str, Path]]:
    """What of its file system is mounted, and where."""
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) > 4:
            yield _unescaped(words[3]), Path(_unescaped(words[4]))


def _unescaped(word: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), word)
