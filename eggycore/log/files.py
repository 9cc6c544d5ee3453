"""A log file as an outlet: appended to, set aside when it is too large or too old, opened anew when it was moved."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from eggycore.log.backups import Backups, Rotation, take_lock
from eggycore.log.errors import LogTargetError
from eggycore.log.streams import FILE_CHUNK, StreamOutlet, above_standard, tell_stderr

__all__ = ["FileOutlet", "open_file"]

LOOK_SECONDS = 1.0
"""How often it is looked whether the file is still at its path."""

ROTATE_RETRY_SECONDS = 60.0
"""Time between two attempts to rotate in a folder that does not allow it; the file grows meanwhile."""

_MODE = 0o640
_FIRST_TIMESTAMP = re.compile(rb'\{"timestamp":"([0-9T:.-]{23}Z)"')


def open_file(
    path: Path, rotation: Rotation, *, setting: str = "LOG_FILE", clock: Callable[[], float] = time.time
) -> FileOutlet | StreamOutlet:
    """Open a log file for appending; folders that are missing are made. A pipe or device is a stream, not rotated.

    Raises:
        LogTargetError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = _open(path)
    except OSError as error:
        raise LogTargetError(str(path), setting, error.errno or 0) from error
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return FileOutlet(path, fd, rotation, clock=clock)
    return StreamOutlet(f"log file {path}", fd, owned=True)


def _open(path: Path) -> int:
    # O_NONBLOCK: a named pipe without a reader is refused, where it would keep the start waiting for ever.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    return above_standard(os.open(path, flags, _MODE))


class FileOutlet:
    """A regular file. Used by one thread at a time, which the target sees to.

    A file that was removed or renamed by others (logrotate, a person who needs the space, another process with the
    same LOG_FILE that rotated first) is noticed within a second, and a new one is opened at the path.

    Args:
        path: Where it is.
        fd: It, open for appending; closed by `close`.
        rotation: When it is set aside.
        clock: Seconds since the epoch.
    """

    def __init__(self, path: Path, fd: int, rotation: Rotation, *, clock: Callable[[], float] = time.time) -> None:
        self.backups = Backups(path, rotation, clock=clock)
        self._path = path
        self._rotation = rotation
        self._clock = clock
        self._rotate_not_before = 0.0
        self._torn = False  # the last byte written was not the end of a line
        self._fd = fd
        self._size = 0
        self._began = self._look_at = 0.0
        self._identity = (0, 0)
        self._adopt(fd)
        self.backups.tidy_soon()

    @property
    def name(self) -> str:
        return f"log file {self._path}"

    @property
    def chunk(self) -> int:
        limit = self._rotation.max_bytes
        return min(FILE_CHUNK, max(limit - self._size, 0) or limit) if limit else FILE_CHUNK

    @property
    def waits(self) -> bool:
        return True

    def fileno(self) -> int | None:
        return None

    def write(self, data: bytes) -> int:
        skipped = 0
        if self._clock() >= self._look_at and self._tore_a_line_by_reopening():
            skipped = data.find(b"\n") + 1  # the tail of a line whose head is in the file that was removed
        elif not self._torn and self._is_due(len(data)):
            self._rotate()
        try:
            written = os.write(self._fd, data[skipped:])
        except OSError:
            self._look_at = 0.0  # a person who needs the space may remove the file: look before the next attempt
            raise
        self._size += written
        self._torn = written > 0 and data[skipped + written - 1] != ord("\n")
        return skipped + written

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.backups.close()

    def _adopt(self, fd: int) -> None:
        """Go on with this descriptor, which is the file now at the path."""
        self._fd = fd
        status = os.fstat(fd)
        self._identity = (status.st_dev, status.st_ino)
        self._size = status.st_size
        self._began = self._first_line_at(status) if status.st_size else self._clock()
        self._look_at = self._clock() + LOOK_SECONDS

    def _first_line_at(self, status: os.stat_result) -> float:
        """When the first line of a file that was there already was written; else when the file last changed."""
        try:
            with self._path.open("rb") as file:
                match = _FIRST_TIMESTAMP.match(file.read(64))
            return datetime.fromisoformat(match[1].decode()).timestamp() if match else status.st_mtime
        except (OSError, ValueError):
            return status.st_mtime

    def _tore_a_line_by_reopening(self) -> bool:
        """Open anew when the file is no longer at its path. Whether only the head of the last line was written."""
        self._look_at = self._clock() + LOOK_SECONDS
        if self._is_at_path():
            return False
        torn, self._torn = self._torn, False
        self._reopen()
        return torn

    def _is_at_path(self) -> bool:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def _reopen(self) -> None:
        former = self._fd
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._adopt(_open(self._path))
        os.close(former)

    def _is_due(self, more: int) -> bool:
        if not self._size or self._clock() < self._rotate_not_before:
            return False
        limit, age = self._rotation.max_bytes, self._rotation.max_age
        return bool((limit and self._size + more > limit) or (age and self._clock() - self._began >= age))

    def _rotate(self) -> None:
        if not take_lock(self._fd):  # another process with the same log file is setting it aside
            return
        try:
            if self._is_at_path():  # else another process set it aside already
                self._path.rename(self.backups.new_path())
            self._reopen()
        except OSError as error:
            self._rotate_not_before = self._clock() + ROTATE_RETRY_SECONDS
            tell_stderr(
                f"eggycore: {self.name} cannot be rotated: {error.strerror}. It grows past its limit and is tried again"
                f" every minute; let user {os.geteuid()} write to the folder {self._path.parent}."
            )
            return
        self.backups.tidy_soon()
