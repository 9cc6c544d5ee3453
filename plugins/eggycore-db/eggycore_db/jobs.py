"""Units of work, and how their outcome gets from a worker's thread back to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from eggycore_db.prepared import Prepared
    from eggycore_db.workers import Worker

__all__ = ["Hold", "Job", "Mail"]

T = TypeVar("T")


class Mail:
    """Outcomes on their way to one event loop: one wake-up for all that arrive before it looks.

    Made in the loop; `post` is called in any thread.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._box: deque[Job[Any] | Hold] = deque()
        self._ringing = False

    def post(self, outcome: Job[Any] | Hold) -> None:
        """Have `outcome.settle()` called in the loop."""
        with self._lock:
            self._box.append(outcome)
            if self._ringing:
                return
            self._ringing = True
        with suppress(RuntimeError):  # that loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._open)

    def _open(self) -> None:
        with self._lock:
            box, self._box = self._box, deque()
            self._ringing = False
        for outcome in box:
            outcome.settle()


class Job(Generic[T]):
    """One unit of work, who waits for it, and what came of it."""

    __slots__ = (
        "args",
        "blocking",
        "claims",
        "context",
        "deadline",
        "error",
        "function",
        "future",
        "kwargs",
        "last",
        "mail",
        "prepared",
        "queued",
        "result",
        "worker",
    )

    def __init__(self, mail: Mail, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.mail = mail
        self.future: asyncio.Future[T] = mail.loop.create_future()
        self.context: Context = copy_context()
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.result: T | None = None
        self.error: BaseException | None = None
        self.queued = 0.0
        self.deadline = 0.0
        self.prepared: Prepared | None = None
        """What the event loop may do instead of `function`."""
        self.blocking = False
        """Whether it needs a connection on which the driver itself waits, unless its worker is held already."""
        self.last = True
        """Whether the worker is free for others after it."""
        self.claims = ""
        """Who holds the worker from this work on, for work that begins a transaction."""
        self.worker: Worker | None = None
        """Who does it, once that is known, for work that claims its worker."""

    @property
    def name(self) -> str:
        """What the work is called."""
        return getattr(self.function, "__qualname__", None) or type(self.function).__name__

    def settle(self) -> None:
        """Give the outcome to who waits; in the loop."""
        if self.future.done():
            if self.claims and self.worker is not None and self.future.cancelled():
                self.worker.release()  # nobody knows of the claim
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # without an error it is a T

    def fail(self, error: BaseException) -> None:
        """Refuse the work before it begins; in the loop."""
        self.error = error
        self.settle()


class Hold:
    """Someone who wants a worker for several units of work, and perhaps has it."""

    __slots__ = ("deadline", "future", "mail", "name", "queued", "worker")

    def __init__(self, mail: Mail, name: str) -> None:
        self.mail = mail
        self.future: asyncio.Future[Worker] = mail.loop.create_future()
        self.worker: Worker | None = None
        self.name = name
        self.queued = 0.0
        self.deadline = 0.0

    def settle(self) -> None:
        """Give the worker to who waits, or back when nobody does any more; in the loop."""
        assert self.worker is not None
        if self.future.done():
            self.worker.release()
        else:
            self.future.set_result(self.worker)

    def fail(self, error: BaseException) -> None:
        """Refuse it; in the loop."""
        if not self.future.done():
            self.future.set_exception(error)
