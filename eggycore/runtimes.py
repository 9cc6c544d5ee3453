"""Which runtime this task or thread belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError

if TYPE_CHECKING:
    from eggycore.runtime import Runtime

__all__ = ["NoRuntime", "as_current", "as_running", "current"]


@dataclass(eq=False)
class NoRuntime(EggycoreError):
    """`current()` was called where no single runtime can be told. `running` of them run in this process."""

    running: int


@diagnose.register
def _(error: NoRuntime) -> Diagnosis:
    several = f"{error.running} runtimes run in this process, and this task or thread belongs to none of them."
    return Diagnosis(
        description="There is no current runtime.",
        cause=several if error.running else "No runtime runs in this process.",
        action="Call it from a handler, a service or a task started by one; elsewhere pass the runtime along.",
    )


def current() -> Runtime:
    """The runtime of this task or thread, else the only one that runs in this process.

    Raises:
        NoRuntime: There is none, or there are several.
    """
    if (runtime := _CURRENT.get()) is not None:
        return runtime
    if len(_RUNNING) == 1:
        return _RUNNING[0]
    raise NoRuntime(len(_RUNNING))


_CURRENT: ContextVar[Runtime | None] = ContextVar("eggycore_runtime", default=None)
_RUNNING: list[Runtime] = []


@contextmanager
def as_current(runtime: Runtime) -> Iterator[None]:
    """Inside the block, and in tasks started there, `current()` is this runtime."""
    token = _CURRENT.set(runtime)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def as_running(runtime: Runtime) -> Iterator[None]:
    """Inside the block this runtime counts as running in this process."""
    _RUNNING.append(runtime)
    try:
        yield
    finally:
        _RUNNING.remove(runtime)
