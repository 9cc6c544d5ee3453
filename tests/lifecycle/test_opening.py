"""One initializer from open to close, in a task of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.errors import NotUpYet
from eggycore.opening import CloseOverran, OpenInitializer, OpenTimeout, is_not_up_yet
from eggycore.plan import Planned
from eggycore.types import Initializer, Origin


def opening(open_: Callable[[], AbstractAsyncContextManager[object]], timeout: float = 5.0) -> OpenInitializer:
    return OpenInitializer(
        Planned(Initializer(name="pool", open=open_, timeout=timeout), Origin("db", "eggycore-db", "1"))
    )


async def test_it_is_entered_and_left_by_the_same_task():
    tasks: list[asyncio.Task[object] | None] = []

    @asynccontextmanager
    async def pool() -> AsyncIterator[str]:
        async with asyncio.TaskGroup() as group:
            helper = group.create_task(asyncio.Event().wait())
            tasks.append(asyncio.current_task())
            yield "open"
            tasks.append(asyncio.current_task())
            helper.cancel()

    initializer = opening(pool)
    assert await initializer.opened() == "open"
    await initializer.close(timeout=5)
    assert tasks == [initializer.task, initializer.task]


async def test_what_opening_raises_is_raised():
    @asynccontextmanager
    async def pool() -> AsyncIterator[str]:
        raise OSError("no")
        yield ""

    with pytest.raises(OSError, match="no"):
        await opening(pool).opened()


async def test_one_that_takes_too_long_is_cancelled_and_named_with_its_innermost_frame():
    closed = []

    async def handshake() -> None:
        await asyncio.Event().wait()

    @asynccontextmanager
    async def pool() -> AsyncIterator[str]:
        try:
            await handshake()
            yield "never"
        finally:
            closed.append(True)

    with pytest.raises(OpenTimeout) as caught:
        await opening(pool, timeout=0.01).opened()
    assert closed == [True]
    assert "handshake" in caught.value.stack
    assert render(diagnose(caught.value)) == (
        "Initializer 'pool' of plugin db (eggycore-db 1) did not open within 0.01 s.\n"
        f"  cause:  It was waiting here:\n{caught.value.stack}\n"
        "  action: Check that what it connects to answers, or give the initializer a longer timeout."
    )


async def test_cancelling_the_wait_closes_what_was_half_open():
    half_open, closed = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def pool() -> AsyncIterator[str]:
        try:
            half_open.set()
            await asyncio.Event().wait()
            yield "never"
        finally:
            closed.set()

    initializer = opening(pool)
    waiting = asyncio.create_task(initializer.opened())
    await half_open.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await initializer.close(timeout=5)
    assert closed.is_set()


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError()])
async def test_opening_ends_no_process_and_cancels_nobody(error: BaseException):
    @asynccontextmanager
    async def pool() -> AsyncIterator[str]:
        raise error
        yield "never"

    with pytest.raises(RuntimeError, match=f"it raised {type(error).__name__}") as caught:
        await opening(pool).opened()
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
async def test_closing_ends_no_process_and_cancels_nobody(error: BaseException):
    @asynccontextmanager
    async def pool() -> AsyncIterator[str]:
        yield "open"
        raise error

    initializer = opening(pool)
    await initializer.opened()
    with pytest.raises(RuntimeError, match=f"it raised {type(error).__name__}"):
        await initializer.close(timeout=5)


async def test_one_that_does_not_close_is_cancelled_and_named():
    @asynccontextmanager
    async def pool() -> AsyncIterator[str]:
        yield "open"
        await asyncio.Event().wait()

    initializer = opening(pool)
    await initializer.opened()
    with pytest.raises(CloseOverran) as caught:
        await initializer.close(timeout=0)
    assert initializer.task.cancelled()
    assert render(diagnose(caught.value)) == (
        "Initializer 'pool' of plugin db (eggycore-db 1) did not close within 0.0 s.\n"
        f"  cause:  It was waiting here:\n{caught.value.stack}\n"
        "  action: Bound what its exit waits for, or give the shutdown a longer SHUTDOWN_TIMEOUT."
    )


def chained(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(), True),
        (socket.gaierror(-2, "Name or service not known"), True),
        (chained(RuntimeError("driver says no"), ConnectionRefusedError()), True),
        (ExceptionGroup("both", [ConnectionRefusedError(), ConnectionRefusedError()]), True),
        (ExceptionGroup("mixed", [ConnectionRefusedError(), ValueError()]), False),
        (NotUpYet(), True),
        (chained(RuntimeError("driver says no"), NotUpYet()), True),
        (PermissionError(), False),
        (ValueError(), False),
    ],
)
def test_what_counts_as_not_up_yet(error: Exception, expected: bool):
    assert is_not_up_yet(error) is expected
