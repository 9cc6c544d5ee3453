"""Takes lines from any thread and brings them to the targets; one writer thread, which the sink owns."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from eggycore.log.levels import WARN
from eggycore.log.streams import above_standard, tell_stderr
from eggycore.log.targets import Target

__all__ = ["BATCH_LINES", "BATCH_SECONDS", "Flush", "Sink"]

Flush = Literal["batch", "line"]

BATCH_LINES = 256
"""Lines that wait to be written together at most, while the targets take them."""

BATCH_SECONDS = 0.04
"""How long the writer gathers lines. With the time a thread needs to be woken it stays below the promised 50 ms."""

PATIENCE = 0.02
"""Seconds that a caller waits at most for an urgent line to be written."""

SLOW_SECONDS = 1.0
"""How long nobody waits any more after somebody waited in vain: a slow disk takes at most 2 % of the event loop."""

_STALLED_SECONDS = 0.05


class Sink:
    """The targets and the thread that writes to them.

    `put` appends to the queues of the targets. In "batch" mode the writer takes them every 40 ms; a line at warning
    or above, and the 256th that waits, is written before `put` returns: by the caller where the target never waits
    (a pipe, a terminal), by the writer where it may (a disk), and then the caller waits at most `PATIENCE`. In "line"
    mode the caller writes every line itself. A target that is stalled is left to the writer in both modes.

    Args:
        targets: Made with `lock`; owned by the sink.
        lock: The lock of the targets.
        flush: "batch" or "line".
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        lock: threading.RLock,
        flush: Flush,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._targets = tuple(targets)
        self._lock = lock
        self._line_mode = flush == "line"
        self._clock = clock
        self._unwritten = 0  # lines put since the writer last began a pass
        self._stalled = False
        self._wait_from = 0.0
        self._waiters: list[threading.Lock] = []
        self._urgent = False
        self._woken = False
        self._close_by: float | None = None
        wake_read, wake_write = os.pipe()
        self._wake_read, self._wake_write = above_standard(wake_read), above_standard(wake_write)
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        self._writer = threading.Thread(target=self._run, name="eggycore-log-writer", daemon=True)
        self._writer.start()

    @property
    def dropped(self) -> int:
        """Lines that a target never got; a line that two targets miss counts twice."""
        return sum(target.dropped for target in self._targets)

    def put(self, line: bytes, level: int) -> None:
        """Bring a line to every target of its level. Never raises, and never waits longer than `PATIENCE`."""
        with self._lock:
            for target in self._targets:
                if level >= target.level:
                    target.put(line)
            self._unwritten += 1
            count = self._unwritten
        if level >= WARN or count >= BATCH_LINES or self._line_mode:
            self._write_now()
        elif count == 1 and not self._stalled:
            self._wake(urgently=False)

    def flush(self, timeout: float) -> bool:
        """Wait until everything put before is written, at most `timeout` seconds. Whether it is."""
        deadline = self._clock() + timeout
        while any(target.pending for target in self._targets):
            left = deadline - self._clock()
            if left <= 0:
                return False
            self._await_pass(min(left, _STALLED_SECONDS))
            if self._stalled:
                time.sleep(min(left, _STALLED_SECONDS))  # the writer has no need to be woken more often than it tries
        return True

    def close(self, timeout: float) -> None:
        """Write what waits, at most `timeout` seconds, end the writer and close the targets. Not to be put to again."""
        self._close_by = self._clock() + timeout
        self._wake(urgently=True)
        self._writer.join(timeout + 1.0)
        if self._writer.is_alive():
            # Stuck in a write to a dead disk. It is a daemon; closing what it uses would hand its files to others.
            tell_stderr("eggycore: the log writer is stuck in a write; its last lines are lost.")
            return
        for target in self._targets:
            if left := target.close():
                tell_stderr(f"eggycore: {left} last log lines were lost: {target.outlet.name} did not take them.")
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1

    def _write_now(self) -> None:
        """See that what was put is written before this returns, by this thread or by the writer."""
        awaited = False
        for target in self._targets:
            if target.pending and not target.stalled and not target.drained_by_me():
                by_me = self._line_mode or not target.outlet.waits
                written = by_me and target.drain(PATIENCE)
                awaited = awaited or not (written or target.stalled)
        with self._lock:
            settled = not any(target.pending for target in self._targets)
            if settled:
                self._unwritten = 0
        if awaited and self._clock() >= self._wait_from and threading.current_thread() is not self._writer:
            if not self._await_pass(PATIENCE):
                self._wait_from = self._clock() + SLOW_SECONDS
        elif awaited or not (settled or self._stalled):
            self._wake(urgently=True)

    def _await_pass(self, timeout: float) -> bool:
        """Wait until the writer has ended a pass over the targets that begins after now. Whether it has."""
        # A bare lock, not an Event: a signal handler that logs while this waits must not meet a lock it holds.
        waiter = threading.Lock()
        waiter.acquire()
        with self._lock:
            self._waiters.append(waiter)
        self._wake(urgently=True)
        return waiter.acquire(timeout=timeout)

    def _wake(self, *, urgently: bool) -> None:
        self._urgent = self._urgent or urgently
        if self._woken:
            return
        with self._lock:
            self._woken = True
            if self._wake_write >= 0:
                with contextlib.suppress(BlockingIOError):  # full: it is awake
                    os.write(self._wake_write, b"x")

    def _run(self) -> None:
        while True:
            self._pause()
            with self._lock:
                waiters, self._waiters = self._waiters, []
                self._unwritten = 0
                self._urgent = False
            done = [target.drain(PATIENCE) for target in self._targets]
            self._stalled = any(target.stalled for target in self._targets)
            for waiter in waiters:
                waiter.release()
            if self._close_by is not None and (all(done) or self._clock() >= self._close_by):
                return

    def _pause(self) -> None:
        """Wait for something to write, and then, unless it is urgent, for more of it."""
        stalled = [target for target in self._targets if target.stalled]
        if stalled:
            self._pause_stalled(stalled)
        else:
            if not self._unwritten and not self._urgent:
                self._poll(None)
            if not self._urgent:
                self._poll(BATCH_SECONDS)

    def _pause_stalled(self, stalled: Sequence[Target]) -> None:
        """Wait until a stalled stream takes something; at most until it is time for the other targets."""
        streams = [target.outlet.fileno() for target in stalled if target.retry_at is None]
        self._poll(_STALLED_SECONDS, [fd for fd in streams if fd is not None])

    def _poll(self, timeout: float | None, writable: Sequence[int] = ()) -> None:
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        for fd in writable:
            poller.register(fd, select.POLLOUT)
        poller.poll(None if timeout is None else timeout * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        self._woken = False
