"""stdout, stderr and other streams as outlets that never keep a caller waiting."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import sys

__all__ = ["FILE_CHUNK", "PIPE_CHUNK", "StreamOutlet", "above_standard", "standard_stream", "tell_stderr"]

FILE_CHUNK = 256 * 1024
"""Bytes written to a regular file at once."""

PIPE_CHUNK = 64 * 1024
"""Bytes offered to a pipe at once, as many as it holds. The writer needs the interpreter again after every write; with
small ones it would fall behind while the event loop is busy."""


class StreamOutlet:
    """A pipe, terminal, socket or redirected file that is written without waiting.

    The descriptor itself is not made non-blocking: other processes share it, and their writes would fail. A pipe is
    opened a second time for that. Where this is not possible, the stream is asked before each write whether it takes
    something; it then takes PIPE_BUF bytes without waiting.

    Args:
        name: For messages.
        fd: An open descriptor, or -1 for one that was closed before the process started.
        owned: Whether `close` closes it; it is non-blocking then.
    """

    def __init__(self, name: str, fd: int, *, owned: bool = False) -> None:
        self._name = name
        self._regular = fd >= 0 and stat.S_ISREG(os.fstat(fd).st_mode)
        second = None if owned or self._regular else _second_opening(fd)
        self._fd = fd if second is None else second
        self._owned = owned or second is not None
        self._poller = select.poll()
        if self._fd >= 0:
            self._poller.register(self._fd, select.POLLOUT)

    @property
    def name(self) -> str:
        return self._name

    @property
    def chunk(self) -> int:
        if self._regular:
            return FILE_CHUNK
        return PIPE_CHUNK if self._owned else select.PIPE_BUF

    @property
    def waits(self) -> bool:
        return self._regular

    def fileno(self) -> int | None:
        return None if self._regular or self._fd < 0 else self._fd

    def write(self, data: bytes) -> int:
        if self._fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self._regular or self._owned:
            return os.write(self._fd, data)
        if not self._poller.poll(0):
            raise BlockingIOError
        return os.write(self._fd, data[: select.PIPE_BUF])

    def close(self) -> None:
        if self._owned and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _second_opening(fd: int) -> int | None:
    """The pipe behind a descriptor, opened once more and non-blocking; None when it is none or may not be opened."""
    if fd < 0 or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return None
    try:
        return above_standard(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:  # no /proc, a pipe of another user, or its reader has left already
        return None


def standard_stream(name: str) -> StreamOutlet:
    """The outlet for "stdout" or "stderr".

    A stream that was closed at start stays closed here: its number may belong to a file or socket by now.
    """
    stream, fd = (sys.__stdout__, 1) if name == "stdout" else (sys.__stderr__, 2)
    return StreamOutlet(name, fd if stream is not None and _is_open(fd) else -1)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def above_standard(fd: int) -> int:
    """The descriptor, moved above 2 when a closed standard stream had left its number free."""
    if fd > 2:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def tell_stderr(text: str) -> None:
    """Say something about the log itself on stderr, if that is open and takes it without waiting."""
    stderr = standard_stream("stderr")
    with contextlib.suppress(OSError):
        stderr.write(f"{text}\n".encode(errors="backslashreplace"))
    stderr.close()
