"""Functions that fill the cache at start, before the process is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from eggycore import log
from eggycore.diagnostics import summary

if TYPE_CHECKING:
    from eggycore.types import Control
    from eggycore_cache.service import CacheService

__all__ = ["functions", "run_warm_up", "warm_up"]

F = TypeVar("F", bound="Callable[[CacheService], Awaitable[object]]")

functions: list[Callable[[CacheService], Awaitable[object]]] = []
"""Those that `warm_up` was used on in this process, in that order."""


def warm_up(function: F) -> F:
    """Decorator: run this async function with the cache at start, before readiness.

    It must be used when the app's module is imported. One that fails, or is not done in CACHE_WARM_UP_TIMEOUT, is
    a warning in the log; the start goes on.
    """
    if function not in functions:
        functions.append(function)
    return function


async def run_warm_up(cache: CacheService, control: Control, seconds: float) -> None:
    """The service that runs them all at once, then waits for the end of the process."""
    await asyncio.gather(*(_run(function, cache, seconds) for function in functions))
    control.started()
    await control.stopping.wait()


async def _run(function: Callable[[CacheService], Awaitable[object]], cache: CacheService, seconds: float) -> None:
    name = getattr(function, "__qualname__", repr(function))
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await function(cache)
    except Exception as error:  # noqa: BLE001  # the border to the app's functions: a cold cache is slower, not broken
        reason = f"not done in {seconds:g} s" if limit.expired() else summary(error)
        log.warn("cache warm-up failed, the start goes on", function=name, reason=reason)
