"""Whose turn it is: few factories run at once while the cache does not answer, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Turn", "Turns"]


class Turn:
    """One factory's place in the line. It may be told to go ahead of it."""

    def __init__(self) -> None:
        self.hurried = False
        self.called: asyncio.Future[bool] | None = None
        """While it waits: True gives it a turn, False lets it go without one."""

    def hurry(self) -> None:
        """Let it go now, and past the bound: a factory that has a turn waits for it, so the line may never move."""
        self.hurried = True
        if self.called is not None and not self.called.done():
            self.called.set_result(False)


class Turns:
    """Belongs to one event loop.

    Args:
        most: Turns that there are.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._line: deque[asyncio.Future[bool]] = deque()

    @asynccontextmanager
    async def waited_for(self, turn: Turn) -> AsyncIterator[None]:
        """Come in when there is a turn, or when hurried."""
        has_turn = await self._taken(turn)
        try:
            yield
        finally:
            if has_turn:
                self._pass_on()

    async def _taken(self, turn: Turn) -> bool:
        if turn.hurried:
            return False
        if self._free:
            self._free -= 1
            return True
        turn.called = called = asyncio.get_running_loop().create_future()
        self._line.append(called)
        try:
            has_turn: bool = await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled() and called.result():
                self._pass_on()
            raise
        return has_turn

    def _pass_on(self) -> None:
        while self._line:
            called = self._line.popleft()
            if not called.done():
                called.set_result(True)
                return
        self._free += 1
