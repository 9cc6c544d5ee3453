"""Tells a handler that the server it runs in has begun to drain."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

__all__ = ["draining"]

DRAINING: ContextVar[asyncio.Event] = ContextVar("eggycore_draining")
"""The event of the server whose request or call this is; servers set it before they call a handler."""


def draining() -> asyncio.Event:
    """The event that is set when this handler's server begins to drain.

    A handler that answers without end (a stream, a long poll) ends its answer soon after, so that its client comes
    back to another instance; what still runs when the shutdown budget is over is cut.

    Raises:
        LookupError: Called outside a handler.

    Example:
        >>> async def Watch(self, request, context):
        ...     going = asyncio.create_task(draining().wait())
        ...     while not going.done():
        ...         yield await self.next_change()
    """
    return DRAINING.get()
