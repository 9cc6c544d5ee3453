"""Evaluates health checks in the background and keeps the answers of the probes ready; everything else reads them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from eggycore import log
from eggycore.check_run import CheckRun, Outcome, shown
from eggycore.check_state import CheckState, Status
from eggycore.health_report import Line, Phase, ProbeResult, details, http_status, probe_result, timestamp, words
from eggycore.metrics import Registry
from eggycore.types import CheckKind, HealthCheck

__all__ = ["Health", "ProbeResult", "Status"]

FIRST_PASS_INTERVAL = 0.5
"""Seconds between runs of a check that has not passed yet, so that start-up does not wait for a whole interval."""

_FOR_START: frozenset[CheckKind] = frozenset({"ready", "startup"})
_PROBES: tuple[CheckKind, ...] = ("ready", "live", "startup")


class _Watched:
    """A check, what is known about it, and the runs that find out."""

    def __init__(self, check: HealthCheck, origin: str) -> None:
        self.check = check
        self.origin = origin
        self.state = CheckState(check)
        self.run = CheckRun(check)
        self.began = math.nan
        """When the last run began, be it one that hangs."""
        self.wanted = asyncio.Event()
        """Set when it is to be run before its turn."""

    async def turn(self, seconds: float) -> None:
        """Wait for its next turn, or until it is wanted before that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wanted.wait()
        self.wanted.clear()

    @property
    def holds_up_start(self) -> bool:
        """Whether the process cannot be ready before this check has passed."""
        return self.check.critical and not self.state.has_passed and not self.check.kinds.isdisjoint(_FOR_START)

    @property
    def is_over(self) -> bool:
        """Whether nobody asks any more: a check for start-up only that has passed."""
        return self.state.has_passed and self.check.kinds == {"startup"}


@dataclass(frozen=True, kw_only=True)
class _Report:
    """A state that was reported instead of being asked for."""

    status: Status
    reason: str
    critical: bool
    since: float


class Health:
    """The health of one process. Used on the event loop; only its metrics are read from other threads.

    Probes never run a check: they read the last results, so that one costs microseconds.

    Args:
        checks: Checks to begin with; `add` takes more, also while they are being run.
        clock: Seconds on a clock that never goes back.
        metrics: Where the states are exported as `health_check_up` and `health_check_duration_seconds`.
    """

    def __init__(
        self,
        checks: Sequence[HealthCheck] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        metrics: Registry | None = None,
    ) -> None:
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._reports: dict[str, _Report] = {}
        self._phase: Phase = "starting"
        self._step = "starting"
        self._progress = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscribers: list[Callable[[bool], None]] = []
        self._probes: dict[CheckKind, ProbeResult] = {}
        self._rendered: dict[str, Status] = {}
        self._rendered_until = -math.inf
        for check in checks:
            self.add(check)
        self._render()
        if metrics is not None:
            self._export(metrics)

    # --- what is watched

    def add(self, check: HealthCheck, origin: str = "") -> None:
        """Watch one more check; it is run at once when checks are being run.

        Args:
            check: The check.
            origin: Who declared it, for the details.

        Raises:
            ValueError: There is a check of this name, or its numbers make no sense.
        """
        if check.name in self._watched:
            raise ValueError(f"there are two health checks named {check.name!r}; give one of them another name")
        if check.interval <= 0 or check.timeout <= 0 or check.failure_threshold < 1:
            raise ValueError(f"health check {check.name!r} needs interval > 0, timeout > 0 and failure_threshold >= 1")
        watched = self._watched[check.name] = _Watched(check, origin)
        if self._group is not None:
            self._watch(watched, self._group)
        self._render()

    def report(self, name: str, status: Status, reason: str = "", *, critical: bool = True) -> None:
        """State something that nobody asks for: a crashed service, a broken optional plugin.

        Args:
            name: What it is about; a second report of this name replaces the first.
            status: Its state; counts for readiness.
            reason: Shown to those who may see details; never put a secret in it.
            critical: Whether it alone turns readiness red.
        """
        known = self._reports.get(name)
        since = known.since if known is not None and known.status == status else self._clock()
        self._reports[name] = _Report(status=status, reason=shown(reason), critical=critical, since=since)
        self._render()

    def withdraw(self, name: str) -> None:
        """Forget what was reported under this name, if anything was."""
        if self._reports.pop(name, None) is not None:
            self._render()

    def look_again(self, name: str) -> None:
        """Run a check now instead of at its next turn: for who knows that its outcome has just changed.

        Nothing happens when there is no check of this name.
        """
        if (watched := self._watched.get(name)) is not None:
            watched.wanted.set()

    def set_step(self, step: str) -> None:
        """Say what start-up is doing; /startupz names it."""
        self._step = step
        self._render()

    def set_ready(self, ready: bool) -> None:
        """Say that everything has started. Readiness follows the checks from now on; no effect while draining."""
        if self._phase != "draining":
            self._phase = "ready" if ready else "starting"
            self._render()

    def begin_drain(self) -> None:
        """Turn readiness red for good. Liveness stays green until the end."""
        self._phase = "draining"
        self._render()

    # --- running the checks

    async def run(self, stopping: asyncio.Event) -> None:
        """Run every check at its interval until told to stop; then cut off the runs that go on."""
        try:
            async with asyncio.TaskGroup() as self._group:
                for watched in self._watched.values():
                    self._watch(watched, self._group)
                await stopping.wait()
                self._group = None
                for task in self._tasks:
                    task.cancel()
        finally:
            self._group = None
            await self._close()

    def _watch(self, watched: _Watched, group: asyncio.TaskGroup) -> None:
        task = group.create_task(self._evaluate_for_ever(watched), name=f"health check {watched.check.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _evaluate_for_ever(self, watched: _Watched) -> None:
        while not watched.is_over:
            await self._evaluate(watched)
            interval = watched.check.interval
            await watched.turn(interval if watched.state.has_passed else min(interval, FIRST_PASS_INTERVAL))
        watched.state.freeze()

    async def _evaluate(self, watched: _Watched) -> None:
        if not watched.run.is_going_on:
            watched.began = self._clock()
            watched.state.started(watched.began)
        outcome = await watched.run.once()
        now = self._clock()
        before = self._rendered[watched.check.name]
        _record(watched.state, outcome, now, now - watched.began)
        after = watched.state.status(now)
        if after != before:
            self._render()
            _log_change(watched, before, after, outcome)
        self._progress.set()

    async def _close(self) -> None:
        closed = await asyncio.gather(*(watched.run.close() for watched in self._watched.values()))
        for watched, ended in zip(self._watched.values(), closed, strict=True):
            if not ended:
                log.warn("health check left behind: it does not end", check=watched.check.name, origin=watched.origin)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Names of the critical checks that must pass once before the process is ready, and have not."""
        return tuple(name for name, watched in self._watched.items() if watched.holds_up_start)

    async def first_pass(self) -> None:
        """Wait until every critical check for readiness or start-up has passed once; `run` must be running."""
        while self.waiting_for:
            self._progress.clear()
            await self._progress.wait()

    # --- reading

    def probe(self, kind: CheckKind) -> ProbeResult:
        """The answer of a probe, rendered before."""
        if self._clock() > self._rendered_until:
            self._render()
        return self._probes[kind]

    @property
    def red(self) -> tuple[str, ...]:
        """Names of what keeps readiness red: critical checks and reports that are DOWN; of none outside "ready"."""
        if self._phase != "ready":
            return ()
        ready = (line for line in self._lines() if line.critical and "ready" in line.kinds)
        return tuple(line.name for line in ready if line.status == "DOWN")

    def check_result(self, name: str) -> ProbeResult | None:
        """The answer of /readyz/<name>, critical or not; None when there is no check of this name."""
        line = next((line for line in self._lines() if line.name == name and "ready" in line.kinds), None)
        return None if line is None else probe_result("ready", "ready", "", [replace(line, critical=True)])

    def report_dict(self, verbose: bool = False) -> dict[str, object]:
        """What /healthz answers: {"status": bool, "checks": {name: word}, "timestamp": RFC 3339}.

        Args:
            verbose: Add where the process stands and everything about each check, for those who may see it.
        """
        lines = list(self._lines())
        good = self.probe("ready").http_status == self.probe("live").http_status == 200
        report: dict[str, object] = {"status": good, "checks": words(lines), "timestamp": timestamp(datetime.now(UTC))}
        if verbose:
            report["phase"] = self._phase
            if self._phase == "starting":
                report["step"] = self._step
            report["details"] = {line.name: details(line) for line in lines}
        return report

    def subscribe(self, callback: Callable[[bool], None]) -> Callable[[], None]:
        """Call back with whether the process is ready: now, and at every change.

        Returns:
            What ends it.
        """
        self._subscribers.append(callback)
        callback(self.probe("ready").http_status == 200)
        return lambda: self._subscribers.remove(callback)

    # --- rendering

    def _render(self) -> None:
        """Work the answers out anew; they hold until something changes or a result becomes stale."""
        now = self._clock()
        was_ready = self._probes.get("ready")
        lines = list(self._lines())
        self._rendered = {line.name: line.status for line in lines}
        self._probes = {kind: probe_result(kind, self._phase, self._step, lines) for kind in _PROBES}
        fresh = (watched.state.fresh_until for watched in self._watched.values())
        self._rendered_until = min((until for until in fresh if until >= now), default=math.inf)
        ready = self._probes["ready"].http_status == 200
        if was_ready is not None and ready != (was_ready.http_status == 200):
            for callback in tuple(self._subscribers):
                callback(ready)

    def _lines(self) -> Iterator[Line]:
        now, moment = self._clock(), datetime.now(UTC)
        for name, report in tuple(self._reports.items()):  # copies: metrics are collected in another thread
            if name not in self._watched:
                yield Line(
                    name=name,
                    status=report.status,
                    has_verdict=True,
                    kinds=frozenset({"ready"}),
                    critical=report.critical,
                    reason=report.reason,
                    since=moment - timedelta(seconds=now - report.since),
                )
        for watched in tuple(self._watched.values()):
            yield _line(watched, now, moment)

    def _export(self, metrics: Registry) -> None:
        def up() -> dict[tuple[str, ...], float]:
            return {(line.name,): float(http_status(line.status) == 200) for line in self._lines()}

        def seconds() -> dict[tuple[str, ...], float]:
            return {(line.name,): line.seconds for line in self._lines() if line.seconds is not None}

        metrics.gauge("health_check_up", "Whether a health check is UP or DEGRADED (1) or not (0).", ("name",), up)
        metrics.gauge(
            "health_check_duration_seconds", "Duration of the last run of a health check.", ("name",), seconds
        )


def _record(state: CheckState, outcome: Outcome, now: float, seconds: float) -> None:
    match outcome.kind:
        case "passed":
            state.passed(now, seconds)
        case "degraded":
            state.degraded(outcome.reason, now, seconds)
        case "failed":
            state.failed(outcome.reason, now, seconds, certain=outcome.certain)


def _line(watched: _Watched, now: float, moment: datetime) -> Line:
    check, state = watched.check, watched.state
    changed = state.fresh_until if state.is_stale(now) else state.since
    return Line(
        name=check.name,
        status=state.status(now),
        has_verdict=state.has_verdict,
        kinds=check.kinds,
        critical=check.critical,
        origin=watched.origin,
        reason="no result for more than three intervals" if state.is_stale(now) else state.reason,
        failures=state.failures,
        since=None if math.isnan(changed) else moment - timedelta(seconds=now - changed),
        seconds=None if math.isnan(state.seconds) else state.seconds,
    )


def _log_change(watched: _Watched, before: Status, after: Status, outcome: Outcome) -> None:
    fields: dict[str, object] = {"check": watched.check.name, "status": after, "was": before}
    if after == "UP":
        say = log.debug if before == "UNKNOWN" else log.info
        say("health check passes", **fields)
        return
    fields |= {"reason": outcome.reason, "critical": watched.check.critical, "origin": watched.origin}
    if outcome.error is not None:
        fields["exc"] = outcome.error
    say = log.error if after == "DOWN" and watched.check.critical else log.warn
    say("health check degraded" if after == "DEGRADED" else "health check fails", **fields)
