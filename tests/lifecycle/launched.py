"""Components that write down what happens to them, for tests of the launcher."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from eggycore.budgets import Budgets
from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import NotUpYet
from eggycore.health import Health
from eggycore.launcher import Launcher
from eggycore.plan import Planned, make_plan
from eggycore.types import Control, HealthCheck, Initializer, Origin, Service, Stage

APP = Origin("shop", kind="app")


class Log:
    """Takes down what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, message: str, /, **fields: object) -> None:
        self.lines.append(("info", message, fields))

    def warn(self, message: str, /, **fields: object) -> None:
        self.lines.append(("warn", message, fields))

    def error(self, message: str, /, **fields: object) -> None:
        self.lines.append(("error", message, fields))

    def of(self, message: str) -> list[dict[str, object]]:
        return [fields for _, said, fields in self.lines if said == message]


class World:
    """Components that write down what happens to them, and a launcher of them."""

    def __init__(self, **budgets: float) -> None:
        self.events: list[str] = []
        self.initializers: list[Initializer[Any]] = []
        self.services: list[Service] = []
        self.checks: list[HealthCheck] = []
        self.budgets = Budgets(**budgets)
        self.health = Health()
        self.log = Log()
        self._launcher: Launcher | None = None

    @property
    def launcher(self) -> Launcher:
        if self._launcher is None:
            plan = make_plan(
                [Planned(one, APP) for one in self.initializers],
                [Planned(one, APP) for one in self.services],
                [Planned(one, APP) for one in self.checks],
            )
            self._launcher = Launcher(plan, budgets=self.budgets, health=self.health, rng=random.Random(0))
            self._launcher.set_logger(self.log)
        return self._launcher

    def initializer(self, name: str, **fields: Any) -> None:
        fields.setdefault("open", self.opens(name))
        self.initializers.append(Initializer(name=name, **fields))

    def opens(self, name: str) -> Callable[[], AbstractAsyncContextManager[str]]:
        @asynccontextmanager
        async def open_() -> AsyncIterator[str]:
            self.events.append(f"open {name}")
            try:
                yield name
            finally:
                self.events.append(f"close {name}")

        return open_

    def service(self, name: str, stage: Stage = "work", **fields: Any) -> None:
        async def run(control: Control) -> None:
            self.events.append(f"start {name}")
            control.started()
            await control.stopping.wait()
            self.events.append(f"stop {name}")

        fields.setdefault("run", run)
        self.services.append(Service(name=name, stage=stage, **fields))

    async def until_ready(self) -> asyncio.Task[int]:
        serving = asyncio.create_task(self.launcher.serve())
        await ready_or_over(self.launcher, serving)
        return serving


async def ready_or_over(launcher: Launcher, serving: asyncio.Task[int]) -> None:
    """Wait until it is READY; what ended it before is raised."""
    ready = asyncio.create_task(launcher.ready.wait())
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if serving.done():
        serving.result()


def refused_times(count: int, then: Callable[[], AbstractAsyncContextManager[str]]) -> Callable[[], Any]:
    left = [count]

    def open_() -> AbstractAsyncContextManager[str]:
        if left[0]:
            left[0] -= 1
            raise ConnectionRefusedError("nobody listens")
        return then()

    return open_


@dataclass(eq=False)
class QueueBusy(NotUpYet):
    """An error of this test."""

    attempt: int


@diagnose.register
def _(error: QueueBusy) -> Diagnosis:
    return Diagnosis(description=f"The queue is being moved, said it for the {error.attempt}th time.", action="Wait.")


def not_up_yet_times(count: int, then: Callable[[], AbstractAsyncContextManager[str]]) -> Callable[[], Any]:
    attempts = iter(range(1, count + 1))

    def open_() -> AbstractAsyncContextManager[str]:
        for attempt in attempts:
            raise QueueBusy(attempt)
        return then()

    return open_
