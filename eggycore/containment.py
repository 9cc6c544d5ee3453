"""Keeps what a component raises inside the component: it ends no event loop, and nobody else seems cancelled by it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["contained", "must_pass"]


def must_pass(error: BaseException) -> bool:
    """Whether no border may stop this exception: ctrl-C, and a cancellation that was asked for, of the current task.

    A cancellation that nobody asked for comes from awaiting something else that was cancelled. It is a failure.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt)


@contextmanager
def contained() -> Iterator[None]:
    """Turn what would do harm beyond its task, SystemExit or a cancellation of something else, into an exception.

    Raises:
        RuntimeError: In place of such a one, which is its cause.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if must_pass(error):
            raise
        raise RuntimeError(f"it raised {type(error).__name__}") from error
