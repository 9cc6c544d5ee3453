"""Where every task and every thread stands, as text: for SIGUSR1, and to name a step that hangs.

Only source lines are shown, never the values of variables. Every function may be called from any thread.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType

__all__ = ["all_stacks", "task_stack", "thread_stacks"]

NAMES_SHOWN = 5
"""How many tasks with the same stack are named; the others are counted."""


def task_stack(task: asyncio.Task[object]) -> str:
    """The stack of a task that waits, outermost frame first, down to the innermost await.

    Goes on into a task, or into the tasks of a gather, that it waits for. Of the task that runs at this moment only
    the outermost frame is known; the rest is in the stack of its thread.

    Returns:
        Lines as in a traceback, without a trailing newline; a remark when the task has no stack.
    """
    return "\n".join(_task_lines(task, seen={task}))


def all_stacks(loop: asyncio.AbstractEventLoop | None) -> str:
    """The stacks of all tasks of a loop, those with the same stack together, and of all threads.

    Args:
        loop: The loop whose tasks are shown; None shows threads only.
    """
    return "\n\n".join([*_task_paragraphs(loop), *_thread_paragraphs()] if loop else _thread_paragraphs())


def thread_stacks() -> str:
    """The stacks of all threads of the process."""
    return "\n\n".join(_thread_paragraphs())


def _task_paragraphs(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    running = asyncio.current_task(loop)
    by_stack: dict[str, list[str]] = {}
    for task in asyncio.all_tasks(loop):
        stack = task_stack(task)
        if task is running:
            stack += "\n  (runs now: the rest is in the stack of its thread)"
        by_stack.setdefault(stack, []).append(task.get_name())
    for stack, names in sorted(by_stack.items(), key=lambda item: sorted(item[1])):
        yield f"{_title(sorted(names))}\n{stack}"


def _title(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{'Task' if len(names) == 1 else f'{len(names)} tasks'} {', '.join(names[:NAMES_SHOWN])}{more}:"


def _thread_paragraphs() -> Iterator[str]:
    threads = {thread.ident: thread for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        thread = threads.get(ident)
        name = f"{thread.name}{' (daemon)' if thread.daemon else ''}" if thread else f"{ident} (not started by Python)"
        lines = _frame_lines(list(traceback.walk_stack(frame))[::-1])
        yield "\n".join([f"Thread {name}:", *lines])


def _task_lines(task: asyncio.Task[object], seen: set[asyncio.Future[object]]) -> Iterator[str]:
    if task.done():
        yield "  (it has ended)"
        return
    frames, awaited = _await_chain(task.get_coro())
    yield from _frame_lines([(frame, frame.f_lineno) for frame in frames])
    for inner in _tasks_behind(awaited):
        if inner not in seen:
            seen.add(inner)
            yield f"  waits for task {inner.get_name()}:"
            yield from _task_lines(inner, seen)


def _frame_lines(frames: list[tuple[FrameType, int]]) -> list[str]:
    if not frames:
        return ["  (no Python frame)"]
    return [line.rstrip("\n") for line in traceback.StackSummary.extract(iter(frames)).format()]


def _await_chain(awaitable: object) -> tuple[list[FrameType], object]:
    """The frames from an awaitable to the innermost one it waits in, and what that one awaits."""
    frames: list[FrameType] = []
    while True:
        match awaitable:
            case CoroutineType(cr_frame=frame, cr_await=inner):
                pass
            case GeneratorType(gi_frame=frame, gi_yieldfrom=inner):
                pass
            case AsyncGeneratorType(ag_frame=frame, ag_await=inner):
                pass
            case _ if (inner := _hidden_behind(awaitable)) is not None:
                frame = None
            case _:
                return frames, awaitable
        if frame is not None:
            frames.append(frame)
        awaitable = inner


def _hidden_behind(awaitable: object) -> object:
    """The (async) generator or coroutine inside CPython's own wrappers, which say it to nobody but the collector.

    Without this an `async with` over an @asynccontextmanager would end at its `__aenter__`.
    """
    if type(awaitable).__name__ not in {"async_generator_asend", "async_generator_athrow", "coroutine_wrapper"}:
        return None
    kinds = (AsyncGeneratorType, CoroutineType, GeneratorType)
    return next((inner for inner in gc.get_referents(awaitable) if isinstance(inner, kinds)), None)


def _tasks_behind(awaited: object) -> list[asyncio.Task[object]]:
    """The tasks that a future, or the iterator over one, stands for: itself, or those that a gather collects."""
    future = awaited
    if not isinstance(future, asyncio.Future):
        future = next((found for found in gc.get_referents(awaited) if isinstance(found, asyncio.Future)), None)
    candidates = [future, *(getattr(future, "_children", None) or ())]
    return [task for task in candidates if isinstance(task, asyncio.Task)]
