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
from eggycore.log.patience import PATIENCE, Patience
from eggycore.log.streams import above_standard, tell_stderr
from eggycore.log.targets import Target

__all__ = ["BATCH_LINES", "BATCH_SECONDS", "Flush", "Sink"]

Flush = Literal["batch", "line"]

BATCH_LINES = 256
"""Lines that wait to be written together at most, while the targets take them."""

BATCH_SECONDS = 0.04
"""How long the writer gathers lines. With the time a thread needs to be woken it stays below the promised 50 ms."""

_STALLED_SECONDS = 0.05


class Sink:
    """The targets and the thread that writes to them.

    `put` appends to the queues of the targets. In "batch" mode the writer takes them every 40 ms; a line at warning
    or above, and the 256th that waits, is written before `put` returns: by the caller where the target never waits
    (a pipe, a terminal), by the writer where it may (a disk). In "line" mode the caller writes every line itself. For
    a target that is slow or full the caller waits at most `PATIENCE`, and not always (see `Patience`); one that fails
    is left to the writer at once.

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
        self._patience = Patience(clock)
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
        return self._await([(target, target.position) for target in self._targets], timeout)

    def close(self, timeout: float) -> None:
        """Write what waits, at most `timeout` seconds, end the writer and close the targets. Idempotent."""
        if self._wake_write < 0:
            return
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
        awaited = [
            (target, target.position)
            for target in self._targets
            if target.pending and not self._written_by_me(target) and not target.failing
        ]
        with self._lock:
            settled = not any(target.pending for target in self._targets)
            if settled:
                self._unwritten = 0
        if awaited and threading.current_thread() is not self._writer and self._patience.may_wait():
            began = self._clock()
            in_time = self._await(awaited, PATIENCE)
            self._patience.waited(self._clock() - began, in_vain=not in_time)
        elif not settled and not self._stalled:
            self._wake(urgently=True)

    def _written_by_me(self, target: Target) -> bool:
        if target.stalled or (target.outlet.waits and not self._line_mode):
            return False
        return target.drain(PATIENCE)

    def _await(self, awaited: Sequence[tuple[Target, int]], timeout: float) -> bool:
        """Wait until the targets have reached these positions. Whether they have."""
        deadline = self._clock() + timeout
        waking = True
        while not all(target.reached(position) for target, position in awaited):
            # A bare lock, not an Event: a signal handler that logs while this waits must not meet a lock it holds.
            waiter = threading.Lock()
            waiter.acquire()
            with self._lock:
                self._waiters.append(waiter)
            if waking or not self._stalled:  # a writer that waits for a stalled target is not helped by being woken
                self._wake(urgently=True)
            waking = False
            left = deadline - self._clock()
            if left <= 0 or not waiter.acquire(timeout=left):
                return all(target.reached(position) for target, position in awaited)
        return True

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
        streams = [target.outlet.fileno() for target in stalled if not target.failing]
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
