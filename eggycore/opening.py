"""The life of one initializer, in a task of its own: entered and left by the same task, as context managers demand."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

from eggycore.containment import contained
from eggycore.diagnostics import Diagnosis, capitalized, diagnose
from eggycore.errors import EggycoreError, NotUpYet
from eggycore.plan import Planned
from eggycore.stacks import task_stack
from eggycore.types import Initializer

__all__ = ["CloseOverran", "InitializerDied", "OpenInitializer", "OpenTimeout", "is_not_up_yet"]

CANCEL_GRACE = 1.0
"""Seconds that a cancelled step gets to clean up before it is abandoned."""


@dataclass(eq=False)
class OpenTimeout(EggycoreError):
    """An initializer did not open in time; it was cancelled."""

    component: str
    seconds: float
    stack: str


@diagnose.register
def _(error: OpenTimeout) -> Diagnosis:
    return Diagnosis(
        description=f"{capitalized(error.component)} did not open within {error.seconds:g} s.",
        cause=f"It was waiting here:\n{error.stack}",
        action="Check that what it connects to answers, or give the initializer a longer timeout.",
    )


@dataclass(eq=False)
class CloseOverran(EggycoreError):
    """An initializer did not close in time; it was cancelled."""

    component: str
    seconds: float
    stack: str


@diagnose.register
def _(error: CloseOverran) -> Diagnosis:
    return Diagnosis(
        description=f"{capitalized(error.component)} did not close within {error.seconds:.1f} s.",
        cause=f"It was waiting here:\n{error.stack}",
        action="Bound what its exit waits for, or give the shutdown a longer SHUTDOWN_TIMEOUT.",
    )


@dataclass(eq=False)
class InitializerDied(EggycoreError):
    """What an initializer holds open ended by itself while the process was running."""

    component: str
    reason: str


@diagnose.register
def _(error: InitializerDied) -> Diagnosis:
    return Diagnosis(
        description=f"{capitalized(error.component)} ended by itself: {error.reason}.",
        cause="A task inside its context manager failed, and its resource is gone.",
        action="Read the error line with its stack above; let the resource recover, or move that task to a Service.",
    )


class OpenInitializer:
    """One initializer from open to close. Owns the task in which its context manager lives."""

    def __init__(self, planned: Planned[Initializer[Any]]) -> None:
        self.planned = planned
        self._opened: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._live(), name=f"eggycore initializer {planned.name}")

    async def _live(self) -> None:
        with contained():
            async with self.planned.value.open() as value:
                self._opened.set_result(value)
                await self._closing.wait()

    @property
    def task(self) -> asyncio.Task[None]:
        """The task that holds it open; it ends when the initializer is closed, or dies."""
        return self._task

    async def opened(self) -> object:
        """Wait until it is open. Cancelling the wait gives up opening; `close` waits for the end of that.

        Returns:
            The resource.

        Raises:
            OpenTimeout: It took longer than its timeout; it was cancelled.
            Exception: Whatever opening it raised.
        """
        timeout = self.planned.value.timeout
        try:
            waited: set[asyncio.Future[Any]] = {self._task, self._opened}
            await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if self._opened.done():
            return self._opened.result()
        if not self._task.done():
            stack = task_stack(self._task)
            await self._abandon()
            raise OpenTimeout(str(self.planned), timeout, stack)
        self._task.result()
        raise AssertionError("an initializer's task ends before it is open only by raising")

    async def close(self, timeout: float) -> None:
        """Close it again.

        Args:
            timeout: Seconds after which it is cancelled.

        Raises:
            CloseOverran: It took longer; it was cancelled.
            Exception: Whatever closing it raised.
        """
        self._closing.set()
        await asyncio.wait({self._task}, timeout=max(timeout, 0))
        if not self._task.done():
            stack = task_stack(self._task)
            await self._abandon()
            raise CloseOverran(str(self.planned), timeout, stack)
        if not self._task.cancelled():
            self._task.result()

    async def _abandon(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=CANCEL_GRACE)
        if self._task.done() and not self._task.cancelled():
            self._task.exception()


def is_not_up_yet(error: BaseException) -> bool:
    """Whether an error means that a server is not up yet: it says so, a refused connection, a name without address."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, NotUpYet | ConnectionRefusedError | socket.gaierror):
            return True
        if isinstance(seen, BaseExceptionGroup):
            return all(map(is_not_up_yet, seen.exceptions))
        seen = seen.__cause__ or seen.__context__
    return False
