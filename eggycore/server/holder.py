"""Which process listens on a port, as Linux tells in /proc."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eggycore.log.masking import mask_text

__all__ = ["Holder", "port_holder"]

_LISTENING = "0A"
_COMMAND_LIMIT = 120


@dataclass(frozen=True)
class Holder:
    """A process that listens.

    Args:
        pid: Its process id.
        command: Its command line, secrets masked, cut after 120 characters.
    """

    pid: int
    command: str


def port_holder(port: int, proc: Path = Path("/proc")) -> Holder | None:
    """The process that listens on this TCP port, or None when the system does not tell.

    It tells about processes of the same user, and root about all; nothing outside Linux.
    """
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port, proc)}
    if not inodes:
        return None
    for process in _processes(proc):
        if any(target in inodes for target in _open_files(process)):
            return Holder(int(process.name), _command(process))
    return None


def _listening_inodes(port: int, proc: Path) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        for row in _text(proc / "net" / table).splitlines()[1:]:
            fields = row.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _processes(proc: Path) -> Iterator[Path]:
    try:
        yield from (entry for entry in proc.iterdir() if entry.name.isdigit())
    except OSError:
        return


def _open_files(process: Path) -> Iterator[str]:
    try:
        for link in (process / "fd").iterdir():
            yield str(link.readlink())
    except OSError:  # another user's, or it has just ended
        return


def _command(process: Path) -> str:
    words = _text(process / "cmdline").rstrip("\0").split("\0")
    command = mask_text(shlex.join(words)) if words != [""] else _text(process / "comm").strip()
    return command if len(command) <= _COMMAND_LIMIT else command[: _COMMAND_LIMIT - 3] + "..."


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
