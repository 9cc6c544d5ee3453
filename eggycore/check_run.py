"""Runs one health check, one run at a time, with a timeout: on the event loop, or in a thread when it is sync."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Literal, TypeAlias

from eggycore.containment import must_pass
from eggycore.errors import CheckFailed, Degraded
from eggycore.log.masking import mask_text
from eggycore.types import HealthCheck

__all__ = ["CheckRun", "Outcome", "shown"]

CLOSE_GRACE = 1.0
"""Seconds in which a run that is cut off at the end may still finish."""

LONGEST_REASON = 300

_Returned: TypeAlias = tuple[object, BaseException | None]
"""What a check returned, or what it raised."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one run of a check ended.

    Args:
        kind: What it means.
        reason: Why, fit for showing: never the text of an exception that was not written for it.
        certain: A failure that needs no second look.
        error: For the log, what the check raised, or what a CheckFailed was raised from: it speaks for itself.
    """

    kind: Literal["passed", "degraded", "failed"]
    reason: str = ""
    certain: bool = False
    error: BaseException | None = None


class CheckRun:
    """Runs a check whenever it is asked to, but never while an earlier run goes on. Used on one event loop.

    Args:
        check: The check to run.
    """

    def __init__(self, check: HealthCheck) -> None:
        self._check = check
        self._pending: asyncio.Future[_Returned] | None = None

    @property
    def is_going_on(self) -> bool:
        """Whether a run has begun and not ended, be it past its timeout."""
        return self._pending is not None and not self._pending.done()

    async def once(self) -> Outcome:
        """Run the check and wait for it, at most for its timeout.

        A run that overruns is cancelled; a thread cannot be, so it goes on, and until it ends every further call
        fails at once instead of starting another.
        """
        if self.is_going_on:
            return Outcome(kind="failed", reason="an earlier run has still not ended")
        try:
            async with asyncio.timeout(self._check.timeout):
                return _outcome(await self._returned())
        except TimeoutError as error:
            return Outcome(kind="failed", reason=f"it did not answer within {self._check.timeout:g} s", error=error)

    async def close(self) -> bool:
        """Cut off a run that goes on.

        Returns:
            Whether nothing runs any more; a thread that hangs is left behind.
        """
        if self._pending is None or self._pending.done():
            return True
        if isinstance(self._pending, asyncio.Task):
            self._pending.cancel()
        await asyncio.wait({self._pending}, timeout=CLOSE_GRACE)
        return self._pending.done()

    async def _returned(self) -> _Returned:
        if _is_async(self._check.check):
            return await self._finished(_in_task(self._check.check))
        result, error = await self._finished(_in_thread(self._check))
        if error is None and inspect.isawaitable(result):
            return await self._finished(_in_task(lambda: result))
        return result, error

    async def _finished(self, pending: asyncio.Future[_Returned]) -> _Returned:
        """Wait for a run; when the wait is cut off, cancel what can be cancelled and keep an eye on it."""
        self._pending = pending
        try:
            await asyncio.wait({pending})
        except asyncio.CancelledError:
            if isinstance(pending, asyncio.Task):
                pending.cancel()
            raise
        return (None, asyncio.CancelledError()) if pending.cancelled() else pending.result()


def _is_async(check: Callable[[], object]) -> bool:
    return inspect.iscoroutinefunction(check) or inspect.iscoroutinefunction(getattr(check, "__call__", None))  # noqa: B004  # whether calling it gives a coroutine, not whether it can be called


def _in_task(check: Callable[[], Awaitable[object] | object]) -> asyncio.Task[_Returned]:
    async def returned() -> _Returned:
        try:
            awaitable = check()
            return (await awaitable if inspect.isawaitable(awaitable) else awaitable), None
        except BaseException as error:  # whatever a check raises is its answer
            if must_pass(error):
                raise
            return None, error

    return asyncio.create_task(returned(), name="eggycore health check")


def _in_thread(check: HealthCheck) -> asyncio.Future[_Returned]:
    """Run a sync check in a daemon thread that carries the context of the caller."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Returned] = loop.create_future()
    context = copy_context()

    def settle(returned: _Returned) -> None:
        if not future.done():
            future.set_result(returned)

    def work() -> None:
        try:
            returned: _Returned = context.run(check.check), None
        except BaseException as error:  # noqa: BLE001  # whatever a check raises is its answer
            returned = None, error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, returned)

    threading.Thread(target=work, name=f"eggycore health check {check.name}", daemon=True).start()
    return future


def _outcome(returned: _Returned) -> Outcome:
    result, error = returned
    match error:
        case None if result is False:
            return Outcome(kind="failed", reason="it returned False")
        case None:
            return Outcome(kind="passed")
        case Degraded():
            return Outcome(kind="degraded", reason=shown(error.reason))
        case CheckFailed():
            certain = error.certain or _is_refused(error)
            return Outcome(kind="failed", reason=shown(error.reason), certain=certain, error=error.__cause__)
        case _:
            return Outcome(kind="failed", reason=_names(error), certain=_is_refused(error), error=error)


def _names(error: BaseException) -> str:
    """The class names of an exception and of what caused it: their texts may hold a DSN."""
    return ", caused by ".join(type(link).__name__ for link in _chain(error))


def _is_refused(error: BaseException) -> bool:
    """Whether somebody said no: waiting for a second look would only send more requests to die."""
    return any(
        isinstance(link, ConnectionRefusedError)
        or (isinstance(link, BaseExceptionGroup) and all(map(_is_refused, link.exceptions)))
        for link in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def shown(reason: str) -> str:
    """A reason fit for showing: on one line, without credentials, of bounded length."""
    text = mask_text(" ".join(reason.split()))
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"
