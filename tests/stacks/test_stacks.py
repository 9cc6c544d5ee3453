"""The stacks of tasks and threads, down to the innermost await."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from eggycore.stacks import all_stacks, task_stack, thread_stacks


class Somewhere:
    """A place to wait that says when somebody waits there."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.leave = asyncio.Event()

    async def wait_at_the_bottom(self) -> None:
        self.reached.set()
        await self.leave.wait()


async def through_a_coroutine(place: Somewhere) -> None:
    await place.wait_at_the_bottom()


async def through_an_async_context_manager(place: Somewhere) -> None:
    @asynccontextmanager
    async def open_slowly() -> AsyncIterator[None]:
        await place.wait_at_the_bottom()
        yield

    async with open_slowly():
        pass


async def through_closing_an_async_context_manager(place: Somewhere) -> None:
    @asynccontextmanager
    async def close_slowly() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await place.wait_at_the_bottom()

    async with close_slowly():
        pass


async def through_an_async_generator(place: Somewhere) -> None:
    async def items() -> AsyncIterator[int]:
        await place.wait_at_the_bottom()
        yield 1

    async for _ in items():
        pass


async def through_an_awaitable_object(place: Somewhere) -> None:
    class Later:
        def __await__(self) -> Generator[Any, None, None]:
            return place.wait_at_the_bottom().__await__()

    await Later()


async def through_a_task(place: Somewhere) -> None:
    await asyncio.create_task(place.wait_at_the_bottom(), name="inner task")


async def through_a_gather(place: Somewhere) -> None:
    await asyncio.gather(asyncio.sleep(0), place.wait_at_the_bottom())


@pytest.mark.parametrize(
    "way",
    [
        through_a_coroutine,
        through_an_async_context_manager,
        through_closing_an_async_context_manager,
        through_an_async_generator,
        through_an_awaitable_object,
        through_a_task,
        through_a_gather,
    ],
)
async def test_the_stack_goes_from_the_outermost_frame_to_the_innermost(
    way: Callable[[Somewhere], Awaitable[None]],
) -> None:
    place = Somewhere()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_as_coroutine(way(place)))
        await place.reached.wait()
        stack = task_stack(task)
        place.leave.set()
    outer = stack.index(f"in {way.__name__}")
    inner = stack.index("in wait_at_the_bottom")
    assert outer < inner < stack.index("await self.leave.wait()")


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work


async def test_two_tasks_that_wait_for_each_other_are_shown_once() -> None:
    tasks: list[asyncio.Task[None]] = []
    both = asyncio.Event()

    async def wait_for_the_other(index: int) -> None:
        await both.wait()
        await asyncio.shield(tasks[index])

    tasks += [asyncio.create_task(wait_for_the_other(index), name=f"task {index}") for index in (1, 0)]
    both.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    text = all_stacks(asyncio.get_running_loop())
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert "in wait_for_the_other" in text


async def test_a_task_that_has_ended_has_no_stack() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    assert task_stack(task) == "  (it has ended)"


async def test_tasks_with_the_same_stack_are_shown_together_and_the_running_one_says_so() -> None:
    leave = asyncio.Event()

    async def work() -> None:
        await leave.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(7):
            group.create_task(work(), name=f"worker {number}")
        await asyncio.sleep(0)
        text = all_stacks(asyncio.get_running_loop())
        leave.set()
    assert "7 tasks worker 0, worker 1, worker 2, worker 3, worker 4 and 2 more:\n" in text
    assert text.count("in work\n") == 1
    assert "(runs now: the rest is in the stack of its thread)" in text


@contextmanager
def a_thread_that_waits(name: str) -> Generator[None]:
    reached, leave = threading.Event(), threading.Event()

    def wait_in_a_thread() -> None:
        reached.set()
        leave.wait()

    thread = threading.Thread(target=wait_in_a_thread, name=name, daemon=True)
    thread.start()
    reached.wait()
    yield
    leave.set()
    thread.join()


def test_threads_are_shown_by_name_with_their_stacks() -> None:
    with a_thread_that_waits("my worker"):
        text = thread_stacks()
    own = next(part for part in text.split("\n\n") if part.startswith("Thread my worker (daemon):"))
    assert own.index("in wait_in_a_thread") < own.index("leave.wait()")
    assert "Thread MainThread" in text


def test_without_a_loop_only_threads_are_shown() -> None:
    with a_thread_that_waits("another worker"):
        assert "Thread another worker" in all_stacks(None)


async def test_the_loop_of_another_thread_can_be_looked_at() -> None:
    loop = asyncio.get_running_loop()
    text = await asyncio.to_thread(all_stacks, loop)
    assert "in test_the_loop_of_another_thread_can_be_looked_at" in text


async def test_no_value_of_a_variable_is_shown() -> None:
    place = Somewhere()

    async def connect(password: str) -> None:
        await place.wait_at_the_bottom()

    async with asyncio.TaskGroup() as group:
        group.create_task(connect("".join(["hun", "ter2"])))
        await place.reached.wait()
        text = all_stacks(asyncio.get_running_loop())
        place.leave.set()
    assert "in connect" in text
    assert "hunter2" not in text
