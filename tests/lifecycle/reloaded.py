"""An app whose check some limits turn red, for tests of reloads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from eggycore import CheckFailed, ConfigRefused, HealthCheck, Runtime, Settings, env, hookimpl
from eggycore.config import ReloadResult, Secret
from eggycore.config.sources import Layer
from eggycore.testing import Running, running
from eggycore.types import Change


class Limits(Settings):
    limit: int = env("LIMIT", default=1, ge=1, reload=True, doc="More than 9 is too much for the check.")
    colour: str = env("COLOUR", default="blue", reload=True, doc="What the check does not look at.")
    cost: int = env("COST", default=1, reload=True, costly=True, doc="What costs something to change.")
    place: str = env("PLACE", default="here", doc="What only changes with a restart.")
    secret: Secret[str] = env("LIMIT_SECRET", default="a", reload=True, doc="What nobody may see.")


class App:
    """Keeps what it is told, holds a reload up when asked to, and has a check that some limits turn red."""

    def __init__(self) -> None:
        self.told: list[tuple[set[str], bool, int]] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.is_red = False

    def turn_red(self) -> None:
        self.is_red = True
        self.runtime.health.look_again("limits")

    @hookimpl
    def register_settings(self) -> type[Settings]:
        return Limits

    @hookimpl
    def register_health_checks(self, runtime: Runtime) -> HealthCheck:
        def check() -> None:
            if self.is_red or runtime.config[Limits].limit > 9:
                raise CheckFailed("too much", certain=True)

        self.runtime = runtime
        return HealthCheck(name="limits", check=check)  # looked at again when something changes, not at short intervals

    @hookimpl
    def check_config(self, change: Change) -> None:
        if change.new[Limits].colour == "red":
            raise ConfigRefused("red is refused")

    @hookimpl
    async def config_changed(self, change: Change) -> None:
        self.told.append((set(change.keys), change.inverse, change.new[Limits].limit))
        self.runtime.health.look_again("limits")
        await self.goes_on.wait()


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.002)


def laid(**values: str) -> list[Layer]:
    return [Layer("ConfigMap limits", values)]


@asynccontextmanager
async def serving(app: App | None = None, folder: Path | None = None, **settings: str) -> AsyncIterator[Running]:
    async with running(app or App(), folder=folder, settings=settings) as service:
        yield service


def outcome(result: ReloadResult | None) -> tuple[str, set[str]]:
    """How it ended, and what differed."""
    assert result is not None
    return result.outcome, set(result.changed)


def sample(runtime: Runtime, name: str) -> dict[tuple[str, ...], float]:
    family = next(family for family in runtime.metrics.collect() if family.name == name)
    return {one.labels: one.value for one in family.samples}


# --- who asks, and what is joined
