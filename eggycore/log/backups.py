"""The rotated files beside a log file: their names, how many are kept for how long, and their compression."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from eggycore.log.streams import tell_stderr

__all__ = ["DAY", "Backups", "Rotation"]

DAY = 86_400.0
"""Seconds."""

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
        self._stopping = threading.Event()
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
        """Remove and compress in the background what the rotation says; nothing when that is going on already."""
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
        self._stopping.set()
        self.join(timeout=5.0)

    def _tidy(self) -> None:
        try:
            self._remove()
            if self._rotation.compress:
                for path in self.files():
                    if path.suffix != ".gz" and not self._stopping.is_set():
                        self._compress(path)
        except OSError as error:
            tell_stderr(f"eggycore: rotated files of {self._path} are not tidied: {error}. The log itself goes on.")

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

    def _compress(self, path: Path) -> None:
        """Compress beside, then replace: a crash leaves the plain file, which the next start compresses."""
        import gzip  # here, as most processes never need them
        import shutil

        partial = path.with_name(path.name + ".gz.partial")
        try:
            with path.open("rb") as plain, gzip.open(partial, "wb", compresslevel=6) as packed:
                while block := plain.read(_BLOCK):
                    if self._stopping.is_set():
                        return
                    packed.write(block)
            shutil.copystat(path, partial)
            partial.replace(path.with_name(path.name + ".gz"))
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # removed meanwhile, by a person or another process that shares the folder
        finally:
            partial.unlink(missing_ok=True)
