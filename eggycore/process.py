"""The process around a runtime: signals, the forced exit, and the event loop."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from types import FrameType, TracebackType
from typing import ClassVar, Protocol

from eggycore import log
from eggycore.stacks import all_stacks

__all__ = [
    "EXIT_FAILED",
    "FLUSH_TIMEOUT",
    "Process",
    "StopDuringSetup",
    "exit_within",
    "new_event_loop",
    "sigterm_cancels",
]

EXIT_FAILED = 1
FLUSH_TIMEOUT = 1.0
"""Seconds that the log gets to flush before a forced exit."""


SAME_STOP = 0.1
"""Seconds in which the same signal again is no second one: `timeout` tells a process, then its group."""


class StopDuringSetup(BaseException):
    """A stop signal arrived before anything was opened. No `except Exception` of a plugin swallows it."""


class Stoppable(Protocol):
    """What signals act on; every method is called on the event loop."""

    def request_stop(self, reason: str) -> None:
        """Drain, stop, close."""

    def request_reload(self) -> None:
        """Read the configuration again."""


class Process:
    """Owns the process's signal handlers while it is entered. Main thread only.

    The first SIGTERM or SIGINT asks for a stop, the second forces the exit. SIGUSR1 writes the stacks of all tasks
    and threads to the log. SIGHUP asks for a reload. Python-level handlers are used, not the loop's, so that the
    second signal and SIGUSR1 work while a handler blocks the loop. An exception that ends a thread goes to the log.
    Where several are entered at once, each signal goes to all of them.
    """

    _entered: ClassVar[list[Process]] = []
    _before: ClassVar[dict[signal.Signals, object]] = {}

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._target: Stoppable | None = None
        self._stops = 0
        self._stopped_at = -math.inf
        self._stopped_by = ""
        self._cuts_in = True
        self._last_resort: threading.Timer | None = None
        self._excepthook = threading.excepthook

    def __enter__(self) -> Process:
        if not self._entered:
            self._before.update({number: signal.signal(number, Process._on_signal) for number in _SIGNALS})
        self._entered.append(self)
        self._excepthook, threading.excepthook = threading.excepthook, _log_dead_thread
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._last_resort is not None:
            self._last_resort.cancel()
            self._last_resort.join()
        threading.excepthook = self._excepthook
        self._entered.remove(self)
        if not self._entered:
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned is what it takes

    def attach(self, target: Stoppable) -> None:
        """From now on signals act on `target`, on the running loop; a stop that came while it was made is passed on."""
        self._cuts_in = False
        self._loop = asyncio.get_running_loop()
        self._target = target
        if self._stops:
            target.request_stop(self._stopped_by)

    def detach(self) -> None:
        """Everything is closed: a stop and a reload have nothing to act on any more. The loop may be closed."""
        self._target = None

    def must_end_within(self, seconds: float) -> None:
        """Force the exit after so many seconds, even if the event loop is blocked. The first call counts."""
        if self._last_resort is None:
            self._last_resort = threading.Timer(seconds, self._force_exit, ["the shutdown budget is used up"])
            self._last_resort.daemon = True
            self._last_resort.name = "eggycore last resort"
            self._last_resort.start()

    def run(self, main: Callable[[], Awaitable[int]]) -> int:
        """Run `main()` on a new event loop (uvloop where there is one) and return its result."""

        async def entered() -> int:
            try:
                return await main()
            finally:
                self.detach()

        self._cuts_in = False
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(entered())

    @classmethod
    def _on_signal(cls, number: int, frame: FrameType | None) -> None:
        act = _SIGNALS[signal.Signals(number)]
        for process in tuple(cls._entered):
            act(process, signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        now = time.monotonic()
        if name == self._stopped_by and now - self._stopped_at < SAME_STOP:
            return
        self._stops += 1
        self._stopped_by, self._stopped_at = name, now
        if self._stops > 1:
            _aside(self._force_exit, f"a second {name}")
        elif self._target is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._target.request_stop, name)
        elif self._cuts_in:
            raise StopDuringSetup(name)

    def _reload(self, name: str) -> None:
        if self._target is not None and self._loop is not None:
            # In a context of its own: the handler runs in that of whatever task was interrupted, request id and all.
            self._loop.call_soon_threadsafe(self._target.request_reload, context=Context())

    def _show_stacks(self, name: str) -> None:
        _aside(self._log_stacks)

    def _log_stacks(self) -> None:
        log.info("stacks of all tasks and threads", stacks=all_stacks(self._loop))

    def _force_exit(self, why: str) -> None:
        log.error("forced exit: what is still running is cut off", reason=why, stacks=all_stacks(self._loop))
        log.flush(FLUSH_TIMEOUT)
        os._exit(EXIT_FAILED)


_SIGNALS: dict[signal.Signals, Callable[[Process, str], None]] = {
    signal.SIGTERM: Process._stop,
    signal.SIGINT: Process._stop,
}
if sys.platform != "win32":
    _SIGNALS |= {signal.SIGUSR1: Process._show_stacks, signal.SIGHUP: Process._reload}


@contextmanager
def sigterm_cancels() -> Iterator[None]:
    """Inside the block SIGTERM cancels the current task, as ctrl-C does; a second one ends the process at once.

    It does nothing outside the main thread, and where somebody else handles SIGTERM.

    Raises:
        SystemExit: With code 143, as shells have it, once the task has left the block because of SIGTERM.
    """
    task, loop, told = asyncio.current_task(), asyncio.get_running_loop(), False

    def cancel(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, cancel)
    try:
        yield
    except asyncio.CancelledError:
        if told and task is not None:
            task.uncancel()
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _log_dead_thread(end: threading.ExceptHookArgs) -> None:
    if end.exc_type is not SystemExit:
        log.error("a thread died", thread=end.thread.name if end.thread else None, exc=end.exc_value)


def _aside(work: Callable[..., None], *args: object) -> None:
    """Work that takes locks must not run in a signal handler: the interrupted frame may hold them."""
    threading.Thread(target=work, args=args, name="eggycore signal", daemon=True).start()


def exit_within(seconds: float, code: int) -> None:
    """The interpreter is about to exit: do not let a thread that somebody left behind hold it up for longer."""
    timer = threading.Timer(seconds, _exit_without_threads, [code])
    timer.daemon = True
    timer.start()


def _exit_without_threads(code: int) -> None:
    main = threading.main_thread()
    left = [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not main]
    with suppress(OSError):  # the log is closed by now, and stderr may be
        os.write(2, f"eggycore: exit without threads that do not end: {', '.join(left)}\n".encode())
    os._exit(code)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop event loop, or asyncio's own where uvloop does not exist (Windows)."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
