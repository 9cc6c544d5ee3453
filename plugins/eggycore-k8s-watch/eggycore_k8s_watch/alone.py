"""Leadership of a process that is the only one: it always leads."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from eggycore.types import Initializer, Leadership, Term
from eggycore_k8s_watch.identity import new_identity

if TYPE_CHECKING:
    from eggycore.runtime import Runtime

__all__ = ["AloneLeadership", "alone_initializer"]


class _OnlyTerm:
    """A term that lasts as long as the process."""

    def __init__(self, token: int, over: asyncio.Event) -> None:
        self.token = token
        self.over = over

    def seconds_left(self) -> float:
        """For ever."""
        return math.inf


class AloneLeadership(Leadership):
    """Leads from its beginning on. Nothing keeps a second process from doing the same.

    The token is the time of the start in nanoseconds, so that it grows from one start to the next as long as the clock
    of the machine is not set back between them. It is greater than any token of a Lease.

    Args:
        draining: Set when the process begins to drain.
    """

    def __init__(self, draining: asyncio.Event) -> None:
        self._identity = new_identity()
        self._term = _OnlyTerm(time.time_ns(), draining)

    @property
    def identity(self) -> str:
        """The name of this process."""
        return self._identity

    @property
    def is_leader(self) -> bool:
        """Always."""
        return True

    @property
    def token(self) -> int:
        """The time of the start, in nanoseconds."""
        return self._term.token

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term]:
        """The one term."""
        yield self._term


def alone_initializer(runtime: Runtime) -> Initializer[Leadership]:
    """Provides leadership to a process that is the only one."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Leadership]:
        yield AloneLeadership(runtime.draining)

    return Initializer(name="leadership", open=opened, provides=Leadership)
