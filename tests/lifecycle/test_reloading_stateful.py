"""Any sequence of reloads, overlays, refusals, failures and lost readiness: nobody ever sees half of a change."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eggycore import ConfigRefused, Runtime, Settings, env, hookimpl
from eggycore.config import Configuration, ReloadResult
from eggycore.config.sources import Layer
from eggycore.probation import ReadinessLost, UndoneBefore
from eggycore.types import Change

PLUGINS = 3
levels = st.integers(0, 3)
some_plugins = st.sets(st.integers(0, PLUGINS - 1), max_size=1)


class Left(Settings):
    level: int = env("LEFT_LEVEL", default=0, reload=True)


class Right(Settings):
    level: int = env("RIGHT_LEVEL", default=0, reload=True)


class Plugin:
    """Believes what it is told; refuses a change, or fails at it, when the machine says so."""

    def __init__(self, index: int, machine: Machine) -> None:
        self.belief = 0
        self._index = index
        self._machine = machine

    @hookimpl
    def register_settings(self) -> tuple[type[Settings], ...]:
        return (Left, Right) if self._index == 0 else ()

    @hookimpl
    def check_config(self, change: Change) -> None:
        if self._index in self._machine.refusing:
            raise ConfigRefused("no")

    @hookimpl
    async def config_changed(self, change: Change) -> None:
        assert self.belief == change.old[Left].level
        await asyncio.sleep(0)
        if self._index in self._machine.failing and not change.inverse:
            raise OSError
        self.belief = change.new[Left].level


class Readers:
    """Threads and a task that read the configuration as fast as they can, and keep what they find torn."""

    def __init__(self, runtime: Runtime) -> None:
        self.torn: list[Configuration] = []
        self._runtime = runtime
        self._done = threading.Event()
        self._read = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def look(self) -> None:
        held = self._runtime.config
        if held[Left].level != held[Right].level or held.values["LEFT_LEVEL"].value != held[Left].level:
            self.torn.append(held)

    async def look_for_ever(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0)

    def wait_for_a_look(self) -> None:
        while self._read.acquire(blocking=False):
            pass
        for _ in range(4):
            assert self._read.acquire(timeout=10)

    def end(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(10)

    def _run(self) -> None:
        while not self._done.is_set():
            self.look()
            self._read.release()


class Machine(RuleBasedStateMachine):
    """The model: what is in force and what was proven, each a level with its generation, and what was undone."""

    @initialize()
    def start(self) -> None:
        self.refusing: set[int] = set()
        self.failing: set[int] = set()
        self.environ = {"SERVICE_NAME": "test"}
        self.of_environment = 0
        self.overlaid: int | None = None
        self.in_force = (0, 1)
        self.highest = 1
        self.proven: tuple[int, int] | None = None
        self.undone: int | None = None
        self.plugins = [Plugin(index, self) for index in range(PLUGINS)]
        named = [(f"plugin{index}", plugin) for index, plugin in enumerate(self.plugins)]
        self.runtime = Runtime(environ=self.environ, objects=named, discover=False)
        self.runtime.configure()
        self.runtime.health.set_ready(True)
        self.interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0001)  # seconds: many more ways for the threads to interleave
        self.runner = asyncio.Runner()
        self.readers = Readers(self.runtime)

    def run(self, work: Awaitable[ReloadResult | None]) -> ReloadResult | None:
        async def with_a_reader() -> ReloadResult | None:
            reading = asyncio.create_task(self.readers.look_for_ever())
            try:
                return await work
            finally:
                reading.cancel()

        return self.runner.run(with_a_reader())

    @property
    def wanted(self) -> int:
        return self.of_environment if self.overlaid is None else self.overlaid

    def expect(self, result: ReloadResult | None, *, by_hand: bool) -> None:
        level, _ = self.in_force
        assert result is not None
        if self.wanted == level:
            assert result.outcome == "unchanged"
            self.undone = None
        elif not by_hand and self.undone == self.wanted:
            assert result.outcome == "refused"
            assert isinstance(result.error, UndoneBefore)
        elif self.refusing:
            assert (result.outcome, result.blamed) == ("refused", f"plugin plugin{min(self.refusing)}")
        elif self.failing:
            self.highest += 1
            assert (result.outcome, result.blamed) == ("undone", f"plugin plugin{min(self.failing)}")
        else:
            assert result.outcome == "applied"
            self.highest += 1
            self.proven = self.proven or self.in_force
            self.in_force = (self.wanted, self.highest)
            self.undone = None

    @rule(level=levels, refusing=some_plugins, failing=some_plugins)
    def reload_by_hand(self, level: int, refusing: set[int], failing: set[int]) -> None:
        self.of_environment, self.refusing, self.failing = level, refusing, failing
        self.environ |= {"LEFT_LEVEL": str(level), "RIGHT_LEVEL": str(level)}
        self.expect(self.run(self.runtime.reload()), by_hand=True)

    @rule(level=levels | st.none(), refusing=some_plugins, failing=some_plugins)
    def overlay(self, level: int | None, refusing: set[int], failing: set[int]) -> None:
        self.overlaid, self.refusing, self.failing = level, refusing, failing
        values = {"LEFT_LEVEL": str(level), "RIGHT_LEVEL": str(level)}
        layers = [] if level is None else [Layer("ConfigMap", values)]
        self.expect(self.run(self.runtime.overlay("map", layers)), by_hand=False)

    @rule(wrong=st.sampled_from(["-", "x", ""]))
    def lay_over_what_is_wrong(self, wrong: str) -> None:
        layer = Layer("ConfigMap", {"LEFT_LEVEL": wrong, "RIGHT_LEVEL": "1"})
        result = self.run(self.runtime.overlay("wrong", [layer]))
        assert result is not None
        assert result.outcome == "refused"
        self.runtime._started_reloads()._overlays.pop("wrong")

    @rule()
    def readiness_is_lost(self) -> None:
        async def lose_it() -> None:
            self.runtime.health.report("limits", "DOWN")
            reloads = self.runtime._started_reloads()
            async with asyncio.timeout(10):
                while reloads._probation.proven is not None or any(
                    "undone" in task.get_name() for task in reloads._tasks
                ):
                    await asyncio.sleep(0)
            self.runtime.health.withdraw("limits")

        self.run(lose_it())
        if self.proven is not None and self.proven[0] != self.in_force[0]:
            self.undone, self.in_force = self.in_force[0], self.proven
            last = self.runtime.reload_status.last
            assert last is not None
            assert isinstance(last.error, ReadinessLost)
        self.proven = None

    @precondition(lambda self: getattr(self, "proven", None) is not None)
    @rule()
    def probation_passes(self) -> None:
        self.runtime._started_reloads()._probation.end()
        self.proven = None

    @precondition(lambda self: hasattr(self, "readers"))
    @invariant()
    def everyone_agrees(self) -> None:
        level, generation = self.in_force
        current = self.runtime.config
        assert (current[Left].level, current[Right].level, current.generation) == (level, level, generation)
        assert [plugin.belief for plugin in self.plugins] == [level] * PLUGINS
        assert self.runtime.reload_status.on_probation == (self.proven is not None)
        self.readers.wait_for_a_look()
        assert self.readers.torn == []

    def teardown(self) -> None:
        self.readers.end()
        self.runner.run(self.runtime._started_reloads().end())
        self.runner.close()
        sys.setswitchinterval(self.interval)


TestReloads = Machine.TestCase
TestReloads.settings = hypothesis_settings(max_examples=10, stateful_step_count=10, deadline=None)
