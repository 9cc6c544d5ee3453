"""Any sequence of reloads, with readers in threads: nobody ever sees half of a change."""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import dataclass, field

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eggycore.config import Configuration, Declared, Listener, Reloader, Settings, Sources, env, load
from eggycore.errors import ConfigRefused
from eggycore.types import Change, Origin


class Left(Settings):
    level: int = env("LEFT_LEVEL", default=0, ge=0, reload=True)
    fixed: int = env("LEFT_FIXED", default=0)


class Right(Settings):
    level: int = env("RIGHT_LEVEL", default=0, ge=0, reload=True)


DECLARED = [Declared(Left, Origin("left")), Declared(Right, Origin("right"))]
LISTENERS = 3


@dataclass
class Reader:
    """A thread that reads the configuration as fast as it can and keeps what it finds torn."""

    reloader: Reloader
    torn: list[Configuration] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    read: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.done.is_set():
            held = self.reloader.current
            if held[Left].level != held[Right].level or held.values["LEFT_LEVEL"].value != held[Left].level:
                self.torn.append(held)
            self.read.set()


class Reloads(RuleBasedStateMachine):
    """The model: the level in force, its generation, the highest number given, and what waits for a restart."""

    @initialize()
    def start(self) -> None:
        self.level = self.fixed = 0
        self.generation = self.highest = 1
        self.refusing: set[int] = set()
        self.failing: set[int] = set()
        self.beliefs = [0] * LISTENERS
        listeners = [self.listener(index) for index in range(LISTENERS)]
        self.reloader = Reloader(load(DECLARED, Sources({}, None)), DECLARED, listeners=listeners)
        self.runner = asyncio.Runner()
        self.interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0001)  # seconds: many more ways for the threads to interleave
        self.readers = [Reader(self.reloader) for _ in range(2)]
        self.threads = [threading.Thread(target=reader.run) for reader in self.readers]
        for thread in self.threads:
            thread.start()

    def listener(self, index: int) -> Listener:
        def check(change: Change) -> None:
            if index in self.refusing:
                raise ConfigRefused("no")

        async def changed(change: Change) -> None:
            assert self.beliefs[index] == change.old[Left].level
            await asyncio.sleep(0)
            if index in self.failing and not change.inverse:
                raise OSError
            self.beliefs[index] = change.new[Left].level

        return Listener(name=str(index), check_config=check, config_changed=changed)

    @rule(
        level=st.integers(0, 3),
        fixed=st.integers(0, 1),
        refusing=st.sets(st.integers(0, LISTENERS - 1), max_size=1),
        failing=st.sets(st.integers(0, LISTENERS - 1), max_size=2),
    )
    def reload(self, level: int, fixed: int, refusing: set[int], failing: set[int]) -> None:
        self.refusing, self.failing = refusing, failing
        text = str(level)
        sources = Sources({"LEFT_LEVEL": text, "RIGHT_LEVEL": text, "LEFT_FIXED": str(fixed)}, None)
        result = self.runner.run(self.reloader.reload(sources))
        assert result.pending == ({"LEFT_FIXED"} if fixed else set())
        if level == self.level:
            expected = "unchanged"
        elif refusing:
            expected = "refused"
        else:
            self.highest += 1
            expected = "undone" if failing else "applied"
        if expected == "applied":
            self.level, self.generation = level, self.highest
        assert result.outcome == expected
        if expected == "undone":
            assert result.blamed == str(min(failing))

    @rule(wrong=st.sampled_from(["-1", "x", "", "9" * 5000]))
    def reload_what_is_wrong(self, wrong: str) -> None:
        result = self.runner.run(self.reloader.reload(Sources({"LEFT_LEVEL": wrong, "RIGHT_LEVEL": "1"}, None)))
        assert result.outcome == "refused"

    @precondition(lambda self: hasattr(self, "reloader"))
    @invariant()
    def everyone_agrees(self) -> None:
        current = self.reloader.current
        assert current[Left] == Left(level=self.level, fixed=0)
        assert current[Right] == Right(level=self.level)
        assert current.generation == self.generation
        assert self.beliefs == [self.level] * LISTENERS
        for reader in self.readers:
            reader.read.clear()
            assert reader.read.wait(10)
            assert reader.torn == []

    def teardown(self) -> None:
        for reader in self.readers:
            reader.done.set()
        for thread in self.threads:
            thread.join(10)
        self.runner.close()
        sys.setswitchinterval(self.interval)


TestReloads = Reloads.TestCase
TestReloads.settings = hypothesis_settings(max_examples=20, stateful_step_count=10, deadline=None)
