"""One output of the log: its bounded queue, what happens when it is slow, full or gone, and what was dropped."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from eggycore.log.levels import DEBUG
from eggycore.log.streams import tell_stderr

__all__ = ["QUEUE_BYTES", "QUEUE_LINES", "RETRY_SECONDS", "Outlet", "Target"]

QUEUE_LINES = 20_000
QUEUE_BYTES = 16 * 1024 * 1024
"""What waits for a target at most; lines past either are dropped and counted."""

RETRY_SECONDS = 1.0
"""Time between two attempts on a target that fails, such as a full disk."""

_GONE = frozenset({errno.EPIPE, errno.EBADF, errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN, errno.ENXIO})
"""Errors after which a target never takes a line again: its reader has left, or it was closed."""


class Outlet(Protocol):
    """Where a target's bytes go: a stream or a file."""

    @property
    def name(self) -> str:
        """What it is, for messages: "stdout", "log file /var/log/forms.log"."""

    @property
    def chunk(self) -> int:
        """Bytes it takes at once. Whole lines are handed to it, unless one line is longer."""

    @property
    def waits(self) -> bool:
        """Whether `write` may keep its caller waiting, as a disk may. A stream never does: it says that it is full."""

    def fileno(self) -> int | None:
        """The descriptor that tells when `write` would take something again, or None when none does."""

    def write(self, data: bytes) -> int:
        """Write, and return how many bytes were taken; BlockingIOError when none can be now."""

    def close(self) -> None:
        """Close what was opened. Idempotent."""


class Target:
    """A queue in front of an outlet. `put` is called by any thread under `lock`; one thread at a time drains.

    Args:
        outlet: Where the bytes go; closed with the target.
        lock: The lock of all targets of one sink. Reentrant, because a signal handler or a finalizer that runs
            while a line is put may log as well.
        level: Lines below it are not for this target.
        present: Turns a JSON line into what this target shows.
        notice: Makes the line that tells how many lines were dropped: (count, name of the target) -> line.
    """

    def __init__(
        self,
        outlet: Outlet,
        *,
        lock: threading.RLock,
        notice: Callable[[int, str], bytes],
        level: int = DEBUG,
        present: Callable[[bytes], bytes] | None = None,
        lines_limit: int = QUEUE_LINES,
        bytes_limit: int = QUEUE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.level = level
        self.outlet = outlet
        self.stalled = False
        """The last drain left something behind; the writer will try again by itself."""
        self.gone = False
        """It will never take a line again."""
        self._lock = lock
        self._notice = notice
        self._present = present
        self._limits = (lines_limit, bytes_limit)
        self._clock = clock
        self._lines: deque[bytes] = deque()
        self._rest = b""  # taken from the queue and not yet taken by the outlet
        self._retry_at: float | None = None
        self._put = self._bytes_put = 0  # written by those who put, under the lock
        self._taken = self._done = self._bytes_taken = 0  # written by the one who drains
        self._refused = 0
        self._lost = 0
        self._told = 0
        self._complained = False
        self._claim = threading.RLock()
        self._draining = False

    @property
    def dropped(self) -> int:
        """Lines that never reached the outlet."""
        return self._refused + self._lost

    @property
    def failing(self) -> bool:
        """The last attempt ended with an error, as on a full disk; it is tried again after `RETRY_SECONDS`."""
        return self._retry_at is not None

    @property
    def position(self) -> int:
        """How many lines were put so far; see `reached`."""
        return self._put

    def reached(self, position: int) -> bool:
        """Whether every line up to this position was written, or is lost."""
        return self._done >= position

    @property
    def pending(self) -> bool:
        """Whether something waits to be written, or is being written."""
        return bool(self._lines or self._rest or self._draining)

    def put(self, line: bytes) -> None:
        """Append a line, or count it as dropped when the queue is full. Never waits. The lock is held."""
        lines, size = self._limits
        if self.gone or len(self._lines) >= lines or self._bytes_put - self._bytes_taken >= size:
            self._refused += 1
            return
        self._append(line)

    def drain(self, patience: float = 0.0) -> bool:
        """Write what the outlet takes now. True when nothing is left, or when this interrupts its own thread's drain.

        Args:
            patience: Seconds to wait for another thread that is draining; False when it is still at it then.
        """
        while self._claim.acquire(timeout=patience):
            try:
                if self._draining:  # a signal handler or finalizer: what it put is taken when the drain goes on
                    return True
                self._draining = True
                try:
                    self.stalled = not self._write_pending()
                finally:
                    self._draining = False
            finally:
                self._claim.release()
            if self.stalled:
                return False
            if not self._lines:  # asked after the claim was given up, or a line put just before would be left
                return True
        return False

    def close(self) -> int:
        """Close the outlet; what is still queued is lost. Returns how many lines that are."""
        with self._lock:
            left = len(self._lines) + self._rest.count(b"\n")
            self._discard()
            self.gone = True
        self.outlet.close()
        return left

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._put += 1
        self._bytes_put += len(line)

    def _write_pending(self) -> bool:
        if self._retry_at is not None and self._clock() < self._retry_at:
            return False
        while self._rest or self._take():
            try:
                written = self.outlet.write(self._rest)
            except BlockingIOError:
                return False
            except OSError as error:
                return self._failed(error)
            self._retry_at = None
            self._rest = self._rest[written:]
            if not self._rest:
                self._done = self._taken
            self._tell_of_dropped()
        return True

    def _take(self) -> bool:
        """Move as many whole lines as the outlet takes at once from the queue to the rest."""
        limit, size = self.outlet.chunk, 0
        taken: list[bytes] = []
        while self._lines and (not taken or size + len(self._lines[0]) <= limit):
            line = self._lines.popleft()
            self._taken += 1
            self._bytes_taken += len(line)
            shown = self._present(line) if self._present else line
            size += len(shown)
            taken.append(shown)
        self._rest = b"".join(taken)
        return bool(taken)

    def _tell_of_dropped(self) -> None:
        """Once it flows again, add a line about those that were dropped since the last such line."""
        untold = self.dropped - self._told
        if untold and len(self._lines) <= self._limits[0] // 2:
            line = self._notice(untold, self.outlet.name)
            with self._lock:
                self._told += untold
                self._append(line)

    def _failed(self, error: OSError) -> bool:
        self.gone = error.errno in _GONE
        if not self._complained:
            self._complained = True
            tell_stderr(_complaint(self.outlet.name, error, self.gone))
        if self.gone:
            with self._lock:
                self._discard()
            return True
        self._retry_at = self._clock() + RETRY_SECONDS
        return False

    def _discard(self) -> None:
        self._lost += len(self._lines) + self._rest.count(b"\n")
        self._lines.clear()
        self._rest = b""
        self._taken = self._done = self._put
        self._bytes_taken = self._bytes_put


def _complaint(name: str, error: OSError, gone: bool) -> str:
    reason = error.strerror or type(error).__name__
    if gone:
        return (
            f"eggycore: {name} takes no more log lines: {reason}. The process goes on; lines to it are counted as lost."
        )
    return (
        f"eggycore: {name} cannot be written: {reason}. The process goes on and tries again every second;"
        f" past {QUEUE_LINES} waiting lines the newest are dropped and counted."
    )
