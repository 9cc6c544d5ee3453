"""A process that reloads for months: configurations that nobody holds are freed, and no task is left."""

from __future__ import annotations

import asyncio
import gc
import sys

from eggycore import Runtime, Settings, env, hookimpl
from eggycore.config import Configuration
from eggycore.config.sources import Layer
from eggycore.types import Change

RELOADS = 1000
WARM_UP = 100


class Words(Settings):
    word: str = env("WORD", default="none", reload=True)


class App:
    changes = 0

    @hookimpl
    def register_settings(self) -> type[Settings]:
        return Words

    @hookimpl
    async def config_changed(self, change: Change) -> None:
        self.changes += 1
        await asyncio.sleep(0)


def configurations() -> int:
    gc.collect()
    return sum(isinstance(one, Configuration) for one in gc.get_objects())


async def test_a_thousand_reloads_leave_nothing_behind() -> None:
    app = App()
    runtime = Runtime(app=app, environ={"SERVICE_NAME": "test"}, discover=False)
    others = configurations()
    runtime.configure()
    runtime.health.set_ready(True)
    tasks = asyncio.all_tasks()
    blocks: list[int] = []
    for number in range(WARM_UP + RELOADS):
        wrong = number % 10 == 9  # what is refused leaves nothing either
        layer = Layer("ConfigMap", {"WORD": "" if wrong else str(number)})
        result = await runtime.overlay("map", [layer])
        assert result.outcome == ("refused" if wrong else "applied")
        if number + 1 in (WARM_UP, WARM_UP + RELOADS):
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    await runtime.overlay("map", [])
    assert app.changes == (WARM_UP + RELOADS) * 0.9 + 1
    assert asyncio.all_tasks() == tasks
    assert configurations() - others <= 2, "the one in force, and the one that was proven before it"
    assert blocks[1] - blocks[0] < RELOADS, "not even one block for each reload"
    await runtime._started_reloads().end()
    assert configurations() - others == 1
