"""The configuration reloads of one runtime: who asks for them, when they happen, and what becomes of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggycore import log
from eggycore.config import Config, Configuration, Declared, Settings, Sources
from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError
from eggycore.health import Health
from eggycore.metrics import Registry
from eggycore.plugins import PluginRecord, Plugins
from eggycore.probation import PROBATION, Probation, ReadinessLost, UndoneBefore
from eggycore.reload_record import ReloadRecord, ReloadStatus
from eggycore.stacks import task_stack
from eggycore.types import Change

if TYPE_CHECKING:
    from eggycore.config import Reloader, ReloadResult
    from eggycore.config.sources import Layer

__all__ = ["ReloadTooLate", "Reloads"]

SLOW_AFTER = 10.0
"""Seconds after which a plugin that is still taking a change over is named in a warning."""

LONGEST = 20.0
"""Seconds after which it is cancelled, and the change is taken back: before an initializer that lays it over is."""


@dataclass(eq=False)
class ReloadTooLate(EggycoreError):
    """A reload was asked for, or going on, when the process began to stop."""


@diagnose.register
def _(error: ReloadTooLate) -> Diagnosis:
    return Diagnosis(
        description="The configuration is not taken over any more.",
        cause="The process is stopping.",
        action="Nothing: the next start reads it.",
    )


@dataclass(eq=False)
class _Round:
    """One reload, for everybody who has asked for it before it began."""

    by: dict[str, None] = field(default_factory=dict)
    by_hand: bool = False
    """Whether a person asked: then it happens at once, whatever was undone before."""
    due: bool = False
    """Whether the wait of a costly change is over."""
    quiet: bool = False
    task: asyncio.Task[ReloadResult] | None = None


class Reloads:
    """Reloads one configuration, on one event loop, and owns the tasks in which that happens.

    Args:
        configuration: The configuration of the start.
        declared: Its settings.
        given: Settings made in code, which no reload changes.
        plugins: Who is asked and told: the core first, then every active plugin in the given order, the app last.
        sources: Where the configuration is read anew, with what is laid over the environment.
        take_over: How the core itself takes a change over.
        health: Whose readiness decides whether a change stays, and where a reload that failed is told.
        metrics: Where reloads are counted.
        rng: Draws the moment at which a costly change is taken over.
        probation: Seconds for which a change is on probation; PROBATION when None.
    """

    def __init__(
        self,
        configuration: Configuration,
        declared: Sequence[Declared],
        given: Sequence[Settings],
        plugins: Plugins,
        sources: Callable[[Sequence[Layer]], Sources],
        *,
        take_over: Callable[[Change], None],
        health: Health,
        metrics: Registry,
        rng: random.Random | None = None,
        probation: float | None = None,
    ) -> None:
        self._first: Configuration | None = configuration
        self._declared = declared
        self._given = given
        self._plugins = plugins
        self._sources = sources
        self._take_over_core = take_over
        self._health = health
        self._rng = rng or random.Random()
        self._record = ReloadRecord(health, metrics)
        self._record.warned(tuple(map(str, configuration.unknown)))
        self._probation = Probation(health, self._lost, seconds=PROBATION if probation is None else probation)
        self._reloader: Reloader | None = None
        self._overlays: dict[str, tuple[Layer, ...]] = {}
        self._undone: dict[str, tuple[object, str]] = {}
        self._undone_by: tuple[str, ...] = ()
        self._judging: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._next: _Round | None = None
        self._scheduled: asyncio.TimerHandle | None = None
        self._scheduled_at: datetime | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._is_over = False

    # --- what others read

    @property
    def current(self) -> Configuration:
        """The configuration in force; from any thread."""
        first = self._first  # once: another thread may read this while the reloader takes its place
        return first if first is not None else self._made_reloader().current

    @property
    def status(self) -> ReloadStatus:
        """Where it stands."""
        return ReloadStatus(
            generation=self.current.generation,
            last=self._record.last,
            by=self._record.by,
            at=self._record.at,
            pending=self._reloader.pending if self._reloader is not None else frozenset(),
            scheduled_at=self._scheduled_at,
            on_probation=self._probation.proven is not None,
        )

    # --- who asks

    async def reload(self, by: str, *, by_hand: bool = True) -> ReloadResult:
        """Read every source again, and take over what may change, as a transaction.

        Those who ask while one reload goes on share the one after it. Whoever is cancelled leaves it to the others.

        Args:
            by: Who asks, for the log.
            by_hand: Whether a person asked; what happens by itself may be spread over time, and does not try again
                what has cost readiness before.
        """
        return await self._result_of(self._join(by, by_hand=by_hand))

    def request(self, by: str) -> None:
        """Reload in a task of its own, because a person asked."""
        self._join(by, by_hand=True)

    async def overlay(self, source: str, layers: Sequence[Layer]) -> ReloadResult:
        """Replace what a source lays over the environment, and reload.

        Args:
            source: Whose layers; those of other sources stay. Who came later wins.
            layers: Its layers now, a later one over an earlier one; none takes back what it has laid.
        """
        self._overlays[source] = tuple(layers)
        by = ", ".join(dict.fromkeys(layer.origin for layer in layers)) or source
        return await self._result_of(self._join(by, by_hand=False))

    def watch(self) -> None:
        """From now on reload when a file changes that the configuration is read from, if CONFIG_WATCH says so."""
        if self.current[Config].config_watch and not self._is_over:
            self._own(asyncio.create_task(self._watch(), name="eggycore config watch"))

    # --- the end

    def cancel(self) -> None:
        """Cancel what is going on, which takes back what it has done, and begin nothing more."""
        self._is_over = True
        self._probation.end()
        self._unschedule()
        self._stop_judging()
        for task in self._tasks:
            task.cancel()

    async def end(self) -> None:
        """Cancel what is going on, and wait until it has ended."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # --- one reload after another

    def _join(self, by: str, *, by_hand: bool = False, due: bool = False, quiet: bool = False) -> _Round:
        if self._next is None:
            self._next = _Round(quiet=True)
            if not self._is_over:
                self._next.task = asyncio.create_task(self._run(self._next), name="eggycore reload")
                self._own(self._next.task)
        joined = self._next
        joined.by[by] = None
        joined.by_hand |= by_hand
        joined.due |= due
        joined.quiet &= quiet
        if joined.task is None:
            self._next = None
        return joined

    async def _result_of(self, joined: _Round) -> ReloadResult:
        if joined.task is not None:
            await asyncio.wait({joined.task})  # not cancelled with whoever waits
            if not joined.task.cancelled():
                return joined.task.result()
        return self._too_late()

    def _too_late(self) -> ReloadResult:
        from eggycore.config import ReloadResult

        return ReloadResult(outcome="refused", generation=self.current.generation, error=ReloadTooLate())

    async def _run(self, this: _Round) -> ReloadResult:
        try:
            async with self._turn:
                self._next = None  # whoever asks from now on wants what is read after this
                return await self._reload(this)
        finally:
            if self._next is this:
                self._next = None

    async def _reload(self, this: _Round) -> ReloadResult:
        reloader = self._made_reloader()
        before, was_ready = self.current, self._is_ready()
        layers = [layer for several in self._overlays.values() for layer in several]
        result = await reloader.reload(self._sources(layers), now=partial(self._is_time, this))
        if result.outcome != "scheduled":
            self._unschedule()
        if result.outcome in ("applied", "unchanged"):
            self._undone = {}
        if result.outcome == "applied" and (was_ready or self._probation.proven is not None):
            self._probation.begin(before)
        self._record.add(", ".join(this.by), result, quiet=this.quiet)
        return result

    def _is_ready(self) -> bool:
        return self._health.probe("ready").http_status == 200

    # --- what happens by itself

    def _is_time(self, this: _Round, change: Change) -> bool:
        """Whether a change is taken over now, or later.

        Raises:
            UndoneBefore: It has cost readiness before, and nobody asked to try it again.
        """
        if this.by_hand:
            return True
        if self._undone and all(_fingerprint(change.new, key) == what for key, what in self._undone.items()):
            raise UndoneBefore(self._undone_by, tuple(sorted(self._undone)))
        spread = change.new[Config].config_reload_spread
        is_costly = any(change.new.owned[key].variable.costly for key in change.keys)
        if this.due or not is_costly or not spread or not self._is_ready():
            return True
        self._schedule(", ".join(this.by), self._rng.uniform(0, spread))
        return False

    def _schedule(self, by: str, seconds: float) -> None:
        if self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_later(seconds, self._when_due, by)
            self._scheduled_at = datetime.now(UTC) + timedelta(seconds=seconds)

    def _when_due(self, by: str) -> None:
        self._unschedule()
        self._join(by, due=True)

    def _unschedule(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._scheduled = self._scheduled_at = None

    def _lost(self, red: tuple[str, ...]) -> None:
        self._own(asyncio.create_task(self._go_back(red), name="eggycore reload undone"))

    async def _go_back(self, red: tuple[str, ...]) -> None:
        async with self._turn:
            proven, reloader = self._probation.proven, self._made_reloader()
            self._probation.end()
            if proven is None or not (keys := reloader.differing(proven)):  # what is in force was proven before
                return
            on_trial = self.current
            why = ReadinessLost(red, tuple(sorted(keys)), self._probation.seconds)
            result = await reloader.go_back(proven, why)
            self._undone = {key: _fingerprint(on_trial, key) for key in keys}
            self._undone_by = red
            self._record.add(self._record.by, result)
            self._stop_judging()
            self._judging = asyncio.get_running_loop().call_later(self._probation.seconds, self._judge_the_return)

    def _judge_the_return(self) -> None:
        """Readiness that is not back with the old values was not lost by the new ones, which are perhaps its cure."""
        if self._undone and not self._is_ready():
            self._undone = {}
            log.warn("going back to the old configuration has not helped", red=list(self._health.red))
            self._join("a return that has not helped", due=True)

    def _stop_judging(self) -> None:
        if self._judging is not None:
            self._judging.cancel()
            self._judging = None

    async def _watch(self) -> None:
        from eggycore.watching import FileWatch

        async with FileWatch(self._watched_paths, self._files_changed):
            self._join("the start of the watch", quiet=True)  # what has changed since the start was read
            await asyncio.Event().wait()  # until it is cancelled

    def _watched_paths(self) -> list[Path]:
        from eggycore.config.watched import watched_paths

        return watched_paths(self.current, self._sources(()))

    def _files_changed(self, paths: frozenset[Path]) -> None:
        folder = self._sources(()).folder or Path()
        files = (path for path in paths if not any(path in other.parents for other in paths))  # not a file's folder
        shown = (path.relative_to(folder) if path.is_relative_to(folder) else path for path in files)
        for path in sorted(map(str, shown)):
            self._join(path)

    def _own(self, task: asyncio.Task[object]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a reload failed in an unexpected way", task=task.get_name(), exc=error)

    # --- who is asked and told

    def _made_reloader(self) -> Reloader:
        if self._reloader is None:
            assert self._first is not None  # it is let go of below
            from eggycore.config import Listener, Reloader

            told = [
                Listener(
                    name=str(record.origin),
                    check_config=partial(self._check_config, record),
                    config_changed=partial(self._config_changed, record),
                )
                for record in self._plugins.active
            ]
            core = Listener(name="eggycore", config_changed=self._take_over_core)
            self._reloader = Reloader(
                self._first, self._declared, given=self._given, listeners=[core, *told], longest=LONGEST
            )
            self._first = None  # the configuration of the start must not outlive its replacement
        return self._reloader

    def _check_config(self, record: PluginRecord, change: Change) -> None:
        self._plugins.ask(record, "check_config", change=change)

    def _config_changed(self, record: PluginRecord, change: Change) -> Awaitable[None] | None:
        taken = self._plugins.tell(record, "config_changed", change=change)
        return None if taken is None else _named_when_slow(record, taken)


async def _named_when_slow(record: PluginRecord, taken: Awaitable[None]) -> None:
    """In a task of its own, which is cancelled when it takes far too long."""
    task = asyncio.current_task()
    assert task is not None
    timer = asyncio.get_running_loop().call_later(SLOW_AFTER, _warn_slow, record, task)
    try:
        await taken
    finally:
        timer.cancel()


def _warn_slow(record: PluginRecord, task: asyncio.Task[Any]) -> None:
    log.warn("slow step", step=f"config_changed of {record.origin}", seconds=SLOW_AFTER, stack=task_stack(task))


def _fingerprint(configuration: Configuration, key: str) -> tuple[object, str]:
    value = configuration.values[key]
    return value.value, value.content
