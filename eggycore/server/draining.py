"""Tells a gRPC handler that the server it runs in has begun to drain."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

__all__ = ["draining"]

DRAINING: ContextVar[asyncio.Event] = ContextVar("eggycore_draining")
"""The event of the server whose call this is; set before a handler is called."""


def draining() -> asyncio.Event:
    """The event that is set when this handler's server begins to drain.

    A handler that answers without end (a stream, a long poll) ends its answer soon after, so that its client comes
    back to another instance; what still runs when the shutdown budget is over is cut, with UNAVAILABLE.

    Raises:
        LookupError: Called outside a handler.

    Example:
        >>> async def Ticks(self, request, context):
        ...     while not draining().is_set():
        ...         yield b"tick"
        ...         await asyncio.sleep(1)
    """
    return DRAINING.get()
