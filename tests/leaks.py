"""A pytest plugin for every test of the repository: what a test starts, it ends. Loaded with `-p` from pyproject.toml.

A test fails when it leaves behind a thread, a task, a file descriptor or a child process. Fixtures of a wider scope
are set up before the first look and may keep what they own.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
from asyncio import runners
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

PATIENCE = 2.0
"""Seconds in which what is already ending may end: a joined thread's bookkeeping, a reaped child."""

THREADS_THAT_STAY = {
    "grpc_poller": "grpc.aio keeps one poller for the process; it ends with the last channel's garbage collection",
    "_poll_wrapper": "the same poller under the name that cygrpc gives it",
}

FILES_THAT_STAY = {
    "anon_inode:": "event loops and grpc make epoll and eventfd descriptors of the process's own",
    "/dev/": "a terminal, /dev/null or /dev/urandom, opened once",
    "/proc/": "read by this very look",
}


def pytest_configure() -> None:
    """In CI every run draws the same examples, so that a red build is red again when it is looked into."""
    settings.register_profile("default", deadline=None)
    settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
    settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def _is_grpc_s_own(task: asyncio.Task[object]) -> bool:
    """Whether it is gRPC's bookkeeping of a call: a server's stop does not wait for that."""
    return task.get_name() == "rpc_task" or task.get_name().startswith("HandleExceptions[")


@pytest.fixture(autouse=True)
def nothing_leaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compare threads, tasks, descriptors and children before the test and after its fixtures are torn down."""
    tasks: list[str] = []
    cancel = runners._cancel_all_tasks

    def note_and_cancel(loop: asyncio.AbstractEventLoop) -> None:
        tasks.extend(f"task {task!r}" for task in asyncio.all_tasks(loop) if not _is_grpc_s_own(task))
        cancel(loop)

    monkeypatch.setattr(runners, "_cancel_all_tasks", note_and_cancel)
    before = _held()
    yield
    left = _left_after(before)
    if left or tasks:
        pytest.fail("left behind:\n  " + "\n  ".join([*sorted(left), *tasks]), pytrace=False)


def _left_after(before: Counter[str]) -> Counter[str]:
    """What is held now and was not before; waits for things that are on their way out."""
    left = _held() - before
    until = time.monotonic() + PATIENCE
    while left and time.monotonic() < until:
        gc.collect()
        threading.Event().wait(0.01)
        left = _held() - before
    return left


def _held() -> Counter[str]:
    return Counter([*_threads(), *_descriptors(), *_children()])


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        if not any(name in thread.name for name in THREADS_THAT_STAY):
            yield f"thread {thread.name}"


def _descriptors() -> Iterator[str]:
    if sys.platform != "linux":
        return
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - half the price of Path.iterdir, twice per test
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")  # noqa: PTH115 - the same
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        if not target.startswith(tuple(FILES_THAT_STAY)):
            yield f"descriptor of {target}"


def _children() -> Iterator[str]:
    if sys.platform != "linux":
        return
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
        except FileNotFoundError:  # the thread has just ended
            continue
        for pid in pids:
            yield f"child process {pid}"
