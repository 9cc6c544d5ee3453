"""Runs a leader_only service in terms: started anew in each, out of the way before another process can lead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eggycore.resources import Resources
from eggycore.stacks import task_stack
from eggycore.types import Control, Leadership, Service, Term

if TYPE_CHECKING:
    from eggycore.launcher import Logger

__all__ = ["led"]

LOOK_AGAIN = 0.25
"""Seconds: how often a term is looked at that is over, or that a service is still finishing in."""

CANCEL_GRACE = 1.0
"""Seconds that a cancelled service gets to clean up before it is named again."""


def led(service: Service, resources: Resources, log: Logger) -> Service:
    """The service as one that runs whenever this process leads.

    It says `started()` at once: a standby is as ready as it will be. What ends it in a term falls under its restart
    policy; after that it waits for leadership again.

    Args:
        service: One that is `leader_only`.
        resources: Where `Leadership` is found when it runs.
        log: Where its starts and stops are said.
    """

    async def run(control: Control) -> None:
        control.started()
        leadership = resources.get(Leadership)
        while not _is_told(control):
            if not await _Turn(service, control, log).run(leadership):
                return
        await control.stopping.wait()  # it has stopped as soon as the process began to drain

    return replace(service, run=run)


class _TermControl:
    """What a service is handed for one term: its `stopping` is that of the term."""

    def __init__(self, outer: Control) -> None:
        self.name = outer.name
        self.draining = outer.draining
        self.stopping = asyncio.Event()

    def started(self) -> None:
        """Readiness has not waited for it."""


class _Turn:
    """One service in one term."""

    def __init__(self, service: Service, outer: Control, log: Logger) -> None:
        self._service = service
        self._outer = outer
        self._log = log
        self._control = _TermControl(outer)

    async def run(self, leadership: Leadership) -> bool:
        """Wait for a term and run the service in it; whether it ended because it was told to."""
        async with AsyncExitStack() as leading:
            term: Term | None = None
            async with _cut_at(self._outer.draining, self._outer.stopping):
                term = await leading.enter_async_context(leadership.lead())
            if term is None or _is_told(self._outer):
                return True
            about = {"component": self._service.name, "term": term.token}
            self._log.info("a leader-only service starts", **about)
            await self._run_within(term)
            is_told = self._control.stopping.is_set()
            if is_told:
                reason = "the process stops" if _is_told(self._outer) else "the term is over"
                self._log.info("a leader-only service has stopped", **about, reason=reason)
            return is_told

    async def _run_within(self, term: Term) -> None:
        """Run it; it is cancelled at the very end of the term."""
        limit = asyncio.timeout(None)
        try:
            async with limit, _beside(self._watch(term, limit, asyncio.current_task())):
                await self._service.run(self._control)
        except TimeoutError:
            if not limit.expired():
                raise

    async def _watch(self, term: Term, limit: asyncio.Timeout, task: asyncio.Task[Any] | None) -> None:
        """Tell it to stop when the term is over or the process ends, and cut it at the end of the term."""
        await _one_of(term.over, self._outer.draining, self._outer.stopping)
        self._control.stopping.set()
        while (left := term.seconds_left()) > 0:  # noqa: ASYNC110  # a renewal moves the end, and says nothing
            await asyncio.sleep(min(left, LOOK_AGAIN))
        assert task is not None
        about = {"component": self._service.name, "term": term.token}
        self._log.error("a leader-only service is cut: its term has ended", **about, stack=task_stack(task))
        limit.reschedule(asyncio.get_running_loop().time())
        await asyncio.sleep(CANCEL_GRACE)
        self._log.error("a leader-only service goes on although it was cancelled", **about, stack=task_stack(task))


def _is_told(control: Control) -> bool:
    """Whether the process ends; what only the leader does stops at once, so that another replica takes over."""
    return control.draining.is_set() or control.stopping.is_set()


@asynccontextmanager
async def _cut_at(*events: asyncio.Event) -> AsyncIterator[None]:
    """A block that is cancelled, and thereby ends, once one of the events is set."""
    limit = asyncio.timeout(None)

    async def watch() -> None:
        await _one_of(*events)
        limit.reschedule(asyncio.get_running_loop().time())

    try:
        async with limit, _beside(watch()):
            yield
    except TimeoutError:
        if not limit.expired():
            raise


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Something that goes on beside the block, and ends with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _one_of(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
