"""The sample app with flags of its own, a route that reads them, and one that tells what the process holds."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

from aiohttp.web import Request

import sample_app
from eggycore import Settings, env, hookimpl
from eggycore.config import Configuration
from eggycore_cache import CachePolicy

# The sample app's own hooks, which become this app's.
from sample_app import init_infra, register_health_checks
from sample_app.settings import FormsSettings

if TYPE_CHECKING:
    from eggycore import Runtime

__all__ = ["init_infra", "register_health_checks", "register_services", "register_settings"]


class Flags(Settings):
    """Two flags that every configuration sets to the same, as it sets CACHE_TTL."""

    left: int = env("FLAG_LEFT", default=60, reload=True, doc="A number.")
    right: int = env("FLAG_RIGHT", default=60, reload=True, doc="The same number.")


@hookimpl
def register_settings() -> tuple[type[FormsSettings], type[Flags]]:
    """FORMS_* and FLAG_*."""
    return FormsSettings, Flags


@hookimpl
def register_services(runtime: Runtime) -> None:
    """Serve the forms, /flags and /held."""

    async def flags(request: Request) -> dict[str, float]:
        config = runtime.config
        left = config[Flags].left
        await asyncio.sleep(0)  # whatever comes now, the configuration that was read stays what it is
        right, ttl = config[Flags].right, config[CachePolicy].ttl
        if not left == right == ttl:
            raise AssertionError(f"half of a change: {left}, {right}, {ttl}")
        return {"flag": left}

    async def held(request: Request) -> dict[str, int]:
        gc.collect()
        configurations = sum(isinstance(one, Configuration) for one in gc.get_objects())
        return {"tasks": len(asyncio.all_tasks()), "configurations": configurations}

    sample_app.register_services(runtime)
    runtime.http.get("/flags", flags)
    runtime.http.get("/held", held)
