"""Tells one listener of a change, in a task of its own and for a bounded time: none holds up every later reload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from eggycore.containment import contained
from eggycore.diagnostics import Diagnosis, capitalized, diagnose
from eggycore.errors import EggycoreError
from eggycore.stacks import task_stack
from eggycore.types import Change

__all__ = ["ListenerOverran", "tell"]

CANCEL_GRACE = 1.0
"""Seconds that a cancelled listener gets to clean up before it is abandoned."""


@dataclass(eq=False)
class ListenerOverran(EggycoreError):
    """A listener did not take a change over in time; it was cancelled.

    Args:
        listener: Who it is: "plugin db (eggycore-db 0.1.0)".
        seconds: What it was given.
        stack: Where it was waiting.
    """

    listener: str
    seconds: float
    stack: str


@diagnose.register
def _(error: ListenerOverran) -> Diagnosis:
    return Diagnosis(
        description=f"{capitalized(error.listener)} did not take the change over within {error.seconds:g} s.",
        cause=f"It was waiting here:\n{error.stack}",
        action="Bound what its config_changed waits for, or have a service do that work.",
    )


async def tell(
    name: str, config_changed: Callable[[Change], Awaitable[None] | None], change: Change, *, longest: float
) -> None:
    """Tell a listener, and wait until it has taken the change over. Cancelled meanwhile, it cancels the listener.

    Args:
        name: Who it is.
        config_changed: What it is told by.
        change: What it is told.
        longest: Seconds that it may take.

    Raises:
        ListenerOverran: It took longer.
        Exception: Whatever it raised.
    """
    taken = config_changed(change)
    if taken is None:
        return
    task = asyncio.create_task(_result_of(taken), name=f"eggycore config_changed of {name}")
    try:
        await asyncio.wait({task}, timeout=longest)
    except asyncio.CancelledError:
        await _cut(task)
        raise
    if not task.done():
        stack = task_stack(task)
        await _cut(task)
        raise ListenerOverran(name, longest, stack)
    task.result()


async def _result_of(taken: Awaitable[None]) -> None:
    with contained():  # it may await something that somebody else has cancelled
        await taken


async def _cut(task: asyncio.Task[None]) -> None:
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody else asks for it any more
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_GRACE)
