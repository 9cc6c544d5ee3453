"""Pools over connections that are none, and work that waits for its gate."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from eggycore_db import DatabaseUnavailable, PoolLimits
from eggycore_db.engine import Line
from eggycore_db.pool import Pool
from eggycore_db.prepared import Prepared

PATIENCE = 20.0


class FakeLine:
    """A connection as the event loop uses it: one statement at a time, and never while its thread does something."""

    closed = False
    is_reset = True

    def __init__(self, is_dead: Callable[[], bool]) -> None:
        self._is_dead = is_dead
        self._busy = self._watched = False
        self._turns = 0
        self.thread_works = False

    def is_quiet(self) -> bool:
        return not self._is_dead()

    def send(
        self,
        loop: asyncio.AbstractEventLoop,
        prepared: Prepared,
        answered: Callable[[Any, BaseException | None], None],
    ) -> None:
        assert not self._busy
        assert not self.thread_works
        if prepared.sql == "unknown value":
            raise ConnectionError
        self._busy = self._watched = True
        self._turns = (self._turns + 1) % 4
        loop.call_later(self._turns / 2000, self._answer, prepared, answered)

    def _answer(self, prepared: Prepared, answered: Callable[[Any, BaseException | None], None]) -> None:
        assert self._busy
        assert self._watched
        self._busy = False
        answered(None, ConnectionError() if prepared.sql == "lose" else None)

    def let_go(self) -> None:
        assert not self._busy
        self._watched = False

    @property
    def is_the_loops(self) -> bool:
        """Whether its thread is to keep away from it."""
        return self._busy or self._watched


class FakeEngine:
    """Connections that remember which threads opened and closed them, and can be told to fail or to break."""

    kind = "postgresql"
    location = "here"
    statement_limit = 0.0
    peewee = None

    def __init__(self, *, prepares: bool = False) -> None:
        self.prepares = prepares
        self.failures: list[Exception] = []
        self.refuses = False
        self.dead: set[threading.Thread] = set()
        self.open: set[threading.Thread] = set()
        self.opened = self.closed = self.most = 0
        self.trespasses = 0
        """How often a thread used a connection that the event loop was using."""
        self._lines = threading.local()
        self._lock = threading.Lock()

    def connect(self, *, blocking: bool = False) -> Callable[[], None]:
        if self.failures:
            raise self.failures.pop()
        if self.refuses:
            raise DatabaseUnavailable("here", "refused")
        thread = threading.current_thread()
        self._lines.blocks = blocking
        with self._lock:
            assert thread not in self.open
            self.open.add(thread)
            self.opened += 1
            self.most = max(self.most, len(self.open))
        return lambda: None

    def disconnect(self) -> None:
        self._look_at_line()
        self._lines.mine = None
        with self._lock:
            self.closed += threading.current_thread() in self.open
            self.open.discard(threading.current_thread())

    def line(self) -> FakeLine | None:
        thread = threading.current_thread()
        self._lines.mine = FakeLine(lambda: thread in self.dead) if self.prepares and not self._lines.blocks else None
        return self._lines.mine

    def _look_at_line(self) -> None:
        line: FakeLine | None = getattr(self._lines, "mine", None)
        self.trespasses += line is not None and line.is_the_loops

    def work(self) -> int:
        """What a function does in a worker."""
        self._look_at_line()
        line: FakeLine | None = self._lines.mine
        if line is not None:
            line.thread_works = True
            time.sleep(0.0002)
            line.thread_works = False
        return 0

    def alive(self) -> bool:
        self._look_at_line()
        return threading.current_thread() not in self.dead

    def reset(self) -> bool:
        self._look_at_line()
        return False

    def explain(self, error: BaseException) -> BaseException:
        return error

    def fault(self, error: BaseException, line: Line | None = None) -> DatabaseUnavailable | None:
        return DatabaseUnavailable.lost("here", "gone") if isinstance(error, ConnectionError) else None

    def timed_out(self, error: BaseException) -> bool:
        return False


class Gate:
    """Units of work that wait until the gate is opened, and tell when they have begun."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()
        self.begun: asyncio.Queue[None] = asyncio.Queue()

    def work(self) -> threading.Thread:
        self._loop.call_soon_threadsafe(self.begun.put_nowait, None)
        assert self._open.wait(10)
        return threading.current_thread()

    def open(self) -> None:
        self._open.set()


@asynccontextmanager
async def opened(engine: FakeEngine, **limits: Any) -> AsyncIterator[Pool]:
    pool = Pool("pool", engine=engine, database=None, writes=True, limits=PoolLimits(**limits))  # type: ignore[arg-type]  # no work here asks for the database, and the limits are its fields
    pool.open()
    try:
        yield pool
    finally:
        await pool.close()
        assert not engine.open
        assert engine.opened == engine.closed


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)
