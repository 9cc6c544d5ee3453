"""The rotated files beside a log file: their names, how many are kept for how long, and their compression."""

from __future__ import annotations

import contextlib
import fcntl
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from eggycore.log.streams import tell_stderr

__all__ = ["DAY", "Backups", "Rotation", "take_lock"]

DAY = 86_400.0
"""Seconds."""

SETTLE_SECONDS = 3.0
"""A file set aside is compressed when it was not written to for this long: another process with the same log file may
write to it until it looks where its file is."""

_BLOCK = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """When a log file is set aside, and what is kept.

    Args:
        max_bytes: A file that would grow past this is set aside; 0 means never.
        max_backups: Files kept that were set aside; 0 means all.
        max_age: Seconds. A file whose first line is this old is set aside, and removed once it was set aside as long
            ago; 0 means never.
        compress: Whether files set aside are compressed with gzip.
    """

    max_bytes: int = 0
    max_backups: int = 0
    max_age: float = 0.0
    compress: bool = False


def take_lock(fd: int) -> bool:
    """Whether this process now holds the lock of the file, until it is closed; also where a file system has none."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


class Backups:
    """The rotated files of one log file: `forms.log` -> `forms-20260131T101500.123Z.log[.gz]`.

    `tidy` works in a thread of its own, because compressing takes seconds; `close` ends it.
    """

    def __init__(self, path: Path, rotation: Rotation, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._rotation = rotation
        self._clock = clock
        self._pattern = re.compile(
            re.escape(path.stem) + r"-(\d{8}T\d{6}\.\d{3}Z)(?:-\d+)?" + re.escape(path.suffix) + r"(?:\.gz)?"
        )
        self._asked = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def new_path(self) -> Path:
        """A free name for the file that is set aside now."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        stamp = f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z"
        number = 1
        while True:
            more = f"-{number}" if number > 1 else ""
            path = self._path.with_name(f"{self._path.stem}-{stamp}{more}{self._path.suffix}")
            if not path.exists() and not path.with_name(path.name + ".gz").exists():
                return path
            number += 1

    def files(self) -> list[Path]:
        """What is there, the newest first."""
        found = [entry for entry in self._path.parent.iterdir() if self._pattern.fullmatch(entry.name)]
        return sorted(found, key=lambda entry: entry.name, reverse=True)

    def tidy_soon(self) -> None:
        """Remove and compress in the background what the rotation says; once more when that is going on."""
        self._asked.set()
        if self._thread is not None and self._thread.is_alive():
            return
        thread = threading.Thread(target=self._tidy, name="eggycore-log-backups", daemon=True)
        with contextlib.suppress(RuntimeError):  # the interpreter is going down: the next start tidies
            thread.start()
            self._thread = thread

    def join(self, timeout: float) -> bool:
        """Wait until what `tidy_soon` started has ended, at most `timeout` seconds. Whether it has."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop tidying, within one block of a file that is being compressed; the next start goes on with it."""
        self._stopping = True
        self._asked.set()
        self.join(timeout=5.0)

    def _tidy(self) -> None:
        try:
            self._tidy_until_done()
        except OSError as error:
            tell_stderr(f"eggycore: rotated files of {self._path} are not tidied: {error}. The log itself goes on.")

    def _tidy_until_done(self) -> None:
        while not self._stopping:
            self._asked.clear()
            self._remove()
            seconds = self._compress_settled() if self._rotation.compress else None
            if seconds is not None:
                self._asked.wait(seconds)
            elif not self._asked.is_set():
                return

    def _remove(self) -> None:
        files = self.files()
        doomed = set(files[self._rotation.max_backups :] if self._rotation.max_backups else ())
        if self._rotation.max_age:
            oldest = self._clock() - self._rotation.max_age
            doomed.update(path for path in files if self._set_aside_at(path) <= oldest)
        for path in doomed:
            path.unlink(missing_ok=True)

    def _set_aside_at(self, path: Path) -> float:
        match = self._pattern.fullmatch(path.name)
        assert match is not None
        try:
            return datetime.strptime(match[1], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()
        except ValueError:  # a name with digits that are no date is not one of ours
            return self._clock()

    def _compress_settled(self) -> float | None:
        """Compress, the oldest first, until one may still be written to. Seconds until it is not; None for no such."""
        for path in reversed([path for path in self.files() if path.suffix != ".gz"]):
            with contextlib.suppress(FileNotFoundError):  # removed by a person, or compressed by another process
                idle = self._clock() - path.stat().st_mtime
                if 0 <= idle < SETTLE_SECONDS:
                    return SETTLE_SECONDS - idle
                self._compress(path)
        return None

    def _compress(self, path: Path) -> None:
        """Compress beside, then replace: a crash leaves the plain file, which the next start compresses."""
        with path.open("rb") as plain:
            if take_lock(plain.fileno()):  # else another process with the same log file is at it
                self._compress_locked(path, plain)

    def _compress_locked(self, path: Path, plain: BinaryIO) -> None:
        import gzip  # here, as most processes never need them
        import shutil

        partial = path.with_name(path.name + ".gz.partial")
        try:
            with gzip.open(partial, "wb", compresslevel=6) as packed:
                while block := plain.read(_BLOCK):
                    if self._stopping:
                        return
                    packed.write(block)
            shutil.copystat(path, partial)
            partial.replace(path.with_name(path.name + ".gz"))
            path.unlink()
        finally:
            partial.unlink(missing_ok=True)
