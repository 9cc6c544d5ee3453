"""Opens initializers, runs and supervises services, drains, stops and closes: one plan, from nothing to nothing."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from eggycore import log as eggycore_log
from eggycore.adapters import InitializerLike, ServiceLike, as_initializer, as_service
from eggycore.budgets import Budgets, StartTimeout
from eggycore.diagnostics import diagnose, explain
from eggycore.errors import EggycoreError, NotUpYet
from eggycore.health import Health
from eggycore.opening import InitializerDied, OpenInitializer, is_not_up_yet
from eggycore.plan import Plan, Planned, make_plan
from eggycore.process import EXIT_FAILED, Process
from eggycore.resources import Resources
from eggycore.stacks import task_stack
from eggycore.supervisor import ServiceDied, Supervised, reason_of
from eggycore.timeline import Timeline
from eggycore.types import Initializer, Origin, Service, Stage

__all__ = ["Launcher", "Logger"]

T = TypeVar("T")

RETRY_BACKOFF = 0.1
RETRY_BACKOFF_MAX = 5.0
"""Bounds, in seconds, of the delay between two attempts to open an initializer whose server is not up yet."""


class Logger(Protocol):
    """What the launcher logs with; the module `eggycore.log` is one."""

    def info(self, message: str, /, **fields: object) -> None:
        """Say that something happened as it should."""

    def warn(self, message: str, /, **fields: object) -> None:
        """Say that something is worse than it should be."""

    def error(self, message: str, /, **fields: object) -> None:
        """Say that something failed; `exc` is the exception."""


class Launcher:
    """Carries out one plan, once.

    Used by `Runtime`; on its own it is the Go library's launcher: add services and initializers, then `run()`.

    Example:
        >>> from eggycore import Launcher
        >>> class Ticker:
        ...     async def start(self): print("ticking")
        ...     async def stop(self): print("stopped")
        >>> launcher = Launcher()
        >>> launcher.add_service(Ticker())
        >>> launcher.set_shutdown_timeout(10)
    """

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        budgets: Budgets | None = None,
        resources: Resources | None = None,
        health: Health | None = None,
        timeline: Timeline | None = None,
        draining: asyncio.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._plan = plan
        self._budgets = budgets or Budgets()
        self._resources = resources or Resources()
        self._health = health or Health()
        self._timeline = timeline or Timeline()
        self._clock = clock
        self._rng = rng or random.Random()
        self._log: Logger = eggycore_log
        self._added_initializers: list[Planned[Initializer[Any]]] = []
        self._added_services: list[Planned[Service]] = []
        self._opened: list[OpenInitializer] = []
        self._running: dict[Stage, list[Supervised]] = {}
        self._step = "nothing yet"
        self._stepping: asyncio.Task[Any] | None = None
        self._refusal: Exception | None = None
        self._starting: list[Supervised] = []
        self._code = 0
        self._reason = ""
        self._failure: BaseException | None = None
        self._overran = False
        self._stop_asked = asyncio.Event()
        self._health_stop = asyncio.Event()
        self._health_task: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        """Set at READY: every service has started and every critical readiness check has passed once."""
        self.draining = draining or asyncio.Event()
        """Set when the process begins to drain."""
        self.tally: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Requests that were in flight when stopping began: how many finished, how many were cut."""
        self.on_ready: Callable[[], None] = lambda: None
        """Called at READY."""
        self.on_falling: Callable[[float], None] = lambda seconds: None
        """Called when the way down begins, with the seconds it may take."""

    # --- what is launched

    def add_service(self, service: Service | ServiceLike, *, name: str = "") -> None:
        """Add a service, or an object with async `start()` and `stop()`. Before `run()`."""
        adapted = as_service(service, name=name)
        self._added_services.append(Planned(adapted, Origin(adapted.name, kind="app")))

    def add_initializer(self, initializer: Initializer[Any] | InitializerLike, *, name: str = "") -> None:
        """Add an initializer, or an object with async `init()` and perhaps `close()`. Before `run()`."""
        adapted = as_initializer(initializer, name=name)
        self._added_initializers.append(Planned(adapted, Origin(adapted.name, kind="app")))

    def set_logger(self, logger: Logger) -> None:
        """Log with this instead of `eggycore.log`."""
        self._log = logger

    def set_shutdown_timeout(self, seconds: float) -> None:
        """Set the budget of the whole way down, in seconds (default 25)."""
        self._budgets = replace(self._budgets, shutdown=seconds)

    def set_drain_delay(self, seconds: float) -> None:
        """Set how long a draining process still serves, in seconds (default 0)."""
        self._budgets = replace(self._budgets, drain_delay=seconds)

    def run(self) -> int:
        """Run until a signal or a failure ends it; owns the process meanwhile. Main thread only.

        Returns:
            The exit code: 0 stopped cleanly, 1 failed.

        Raises:
            PlanError: The components do not fit together.
            Exception: Whatever made the start fail; everything is closed again.
        """
        with Process() as process:

            async def main() -> int:
                process.attach(self)
                self.on_falling = process.must_end_within
                return await self.serve()

            return process.run(main)

    def request_stop(self, reason: str, *, code: int = 0) -> None:
        """Ask for a clean stop. Idempotent; legal before the start. On the event loop."""
        if not self._stop_asked.is_set():
            self._reason, self._code = reason, code
            self._stop_asked.set()

    def request_reload(self) -> None:
        """A launcher on its own has no configuration to reload."""
        self._log.info("nothing to reload: no configuration was loaded")

    # --- from nothing to nothing

    async def serve(self) -> int:
        """Open, run, and close again once a stop is requested.

        Returns:
            The exit code: 0 stopped cleanly, 1 when something had to be cut off.

        Raises:
            Exception: Whatever made the start fail, or ServiceDied; everything is closed again.
        """
        if self._plan is None:
            self._plan = make_plan(self._added_initializers, self._added_services)
        try:
            await self._unless_stopped(self._rise(self._plan))
            await self._stop_asked.wait()
        except asyncio.CancelledError:
            self.request_stop("cancelled")
            await _to_its_end(self._fall())
            raise
        except Exception as error:  # noqa: BLE001 - raised again once everything is closed
            self._fail(error)
        await _to_its_end(self._fall())
        if self._failure is not None:
            raise self._failure
        return EXIT_FAILED if self._overran else self._code

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Open every initializer of the plan, run nothing, and close them again: for commands."""
        try:
            await self._unless_stopped(self._open_all(self._plan or Plan()))
            yield
        finally:
            self.request_stop("done")
            await _to_its_end(self._close_all(self._clock() + self._budgets.shutdown))

    async def _rise(self, plan: Plan) -> None:
        await self._start_stage(plan, "probe")
        await self._open_all(plan)
        for planned in plan.checks:
            self._health.add(planned.value, str(planned.origin))
        self._health_task = asyncio.create_task(self._health.run(self._health_stop), name="eggycore health")
        self._health_task.add_done_callback(self._health_ended)
        await self._start_stage(plan, "work")
        await self._start_stage(plan, "edge")
        self._step = "waiting for the first readiness"
        self._health.set_step(self._step)
        with self._timeline.span("ready"):
            await self._health.first_pass()
        self.ready.set()
        self._health.set_ready(True)
        self.on_ready()
        self._log.info("ready", seconds=round(self._timeline.elapsed(), 3))

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, but leave it when a stop is requested or the start takes too long."""
        working = asyncio.create_task(work, name="eggycore start")
        stop = asyncio.create_task(self._stop_asked.wait(), name="eggycore stop request")
        try:
            await asyncio.wait({working, stop}, timeout=self._budgets.startup, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            elif not stop.done():
                raise self._start_timeout()
        finally:
            for task in (working, stop):
                task.cancel()
            await asyncio.wait({working, stop})

    def _start_timeout(self) -> Exception:
        seconds, refusal = self._budgets.startup, self._refusal
        if isinstance(refusal, NotUpYet):
            refusal.add_note(f"It was tried again until STARTUP_TIMEOUT ({seconds:g} s) had passed.")
            return refusal
        if self._stepping is not None:
            said = diagnose(refusal).description if refusal is not None else ""
            return StartTimeout(seconds, self._step, refusal=said, stack=task_stack(self._stepping))
        if late := [supervised for supervised in self._starting if not supervised.is_serving]:
            return StartTimeout(seconds, _starting(one.planned for one in late), stack=task_stack(late[0].task))
        return StartTimeout(seconds, self._step, waiting_for=self._health.waiting_for)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self.request_stop(type(error).__name__, code=EXIT_FAILED)

    # --- up

    async def _open_all(self, plan: Plan) -> None:
        for initializer in plan.initializers:
            await self._open(initializer)

    async def _open(self, planned: Planned[Initializer[Any]]) -> None:
        self._step = f"opening {planned.name}"
        self._health.set_step(self._step)
        with self._timeline.span("open", planned.name):
            opened = await self._open_with_retries(planned)
        self._stepping = self._refusal = None
        opened.task.add_done_callback(lambda task: self._initializer_ended(planned, task))

    async def _open_with_retries(self, planned: Planned[Initializer[Any]]) -> OpenInitializer:
        attempt = 0
        while True:
            attempt += 1
            opening = OpenInitializer(planned)
            self._stepping = opening.task
            try:
                value = await self._watched(opening.opened(), opening.task, f"opening {planned.name}")
            except asyncio.CancelledError:
                self._opened.append(opening)  # half open: closed with the others
                raise
            except Exception as error:
                error.add_note(f"It happened while opening {planned}, attempt {attempt}.")
                attempts = planned.value.attempts
                if not is_not_up_yet(error) or (attempts is not None and attempt >= attempts):
                    raise
                self._refusal = error
                delay = self._rng.uniform(0, min(RETRY_BACKOFF_MAX, RETRY_BACKOFF * 2.0**attempt))
                diagnosis = diagnose(error)
                self._log.warn(
                    "not up yet, trying again",
                    component=planned.name,
                    attempt=attempt,
                    delay=round(delay, 3),
                    reason=diagnosis.cause or diagnosis.description,
                )
                await asyncio.sleep(delay)
            else:
                self._opened.append(opening)
                if planned.value.provides is not None:
                    self._resources.provide(planned.value.provides, value)
                return opening

    async def _start_stage(self, plan: Plan, stage: Stage) -> None:
        planned_services = plan.stage(stage)
        if not planned_services:
            return
        self._step = _starting(planned_services)
        self._health.set_step(self._step)
        running = self._running.setdefault(stage, [])
        serving: dict[str, Supervised] = {}
        waiting = list(planned_services)
        while waiting:
            names = {planned.name for planned in waiting}
            free = [planned for planned in waiting if names.isdisjoint(planned.value.requires)]
            for planned in free:
                serving[planned.name] = self._supervise(planned)
                running.append(serving[planned.name])
                self._starting.append(serving[planned.name])
            waiting = [planned for planned in waiting if planned not in free]
            await asyncio.gather(*(self._settled(serving[planned.name]) for planned in free))
        self._starting.clear()

    def _supervise(self, planned: Planned[Service]) -> Supervised:
        if planned.value.leader_only:
            from eggycore.leading import led

            planned = Planned(led(planned.value, self._resources, self._log), planned.origin)
        return Supervised(planned, draining=self.draining, supervision=self, clock=self._clock, rng=self._rng)

    async def _settled(self, supervised: Supervised) -> None:
        await self._watched(supervised.settled(), supervised.task, f"starting {supervised.planned.name}")

    async def _watched(self, work: Awaitable[T], task: asyncio.Task[Any], step: str) -> T:
        """Await the work; once it is slow, say so with the stack of the task that does it."""
        timer = asyncio.get_running_loop().call_later(self._budgets.slow_after, self._warn_slow, task, step)
        try:
            return await work
        finally:
            timer.cancel()

    def _warn_slow(self, task: asyncio.Task[Any], step: str) -> None:
        self._log.warn("slow step", step=step, seconds=self._budgets.slow_after, stack=task_stack(task))

    # --- down

    async def _fall(self) -> None:
        began = self._clock()
        deadline = began + self._budgets.shutdown
        self.on_falling(self._budgets.shutdown)
        self._log.info("stopping", reason=self._reason, budget=self._budgets.shutdown)
        self._health.begin_drain()
        self.draining.set()
        if self.ready.is_set():
            with self._timeline.span("drain"):
                await asyncio.sleep(min(self._budgets.drain_delay, self._budgets.shutdown - self._budgets.closing))
        for stage in ("edge", "work"):
            await self._stop_stage(stage, deadline - self._budgets.closing)
        await self._stop_health()
        await self._close_all(deadline)
        await self._stop_stage("probe", self._clock() + self._budgets.turn(deadline - self._clock()))
        finished, cut = self.tally()
        self._overran |= cut > 0
        seconds = round(self._clock() - began, 3)
        self._log.info("stopped", reason=self._reason, seconds=seconds, finished=finished, cut=cut)

    async def _stop_stage(self, stage: Stage, until: float) -> None:
        await asyncio.gather(*(self._stop(supervised, until) for supervised in self._running.get(stage, ())))

    async def _stop(self, supervised: Supervised, until: float) -> None:
        name = supervised.planned.name
        step = self._watched(supervised.stop(until - self._clock()), supervised.task, f"stopping {name}")
        await self._down("stop", name, step)

    async def _close_all(self, until: float) -> None:
        while self._opened:
            await self._close(self._opened.pop(), until)

    async def _close(self, opened: OpenInitializer, until: float) -> None:
        planned = opened.planned
        seconds = self._budgets.turn(until - self._clock())
        step = self._watched(opened.close(seconds), opened.task, f"closing {planned.name}")
        await self._down("close", planned.name, step)
        if planned.value.provides is not None:
            self._resources.withdraw(planned.value.provides)

    async def _stop_health(self) -> None:
        self._health_stop.set()
        if self._health_task is not None:
            await self._down("stop", "health", _result_of(self._health_task))

    async def _down(self, phase: str, name: str, step: Awaitable[None]) -> None:
        """One step of the way down: whatever it raises is said, and the next step follows."""
        try:
            with self._timeline.span(phase, name):
                await step
        except EggycoreError as error:
            self._overran = True
            self._log.error(f"failed to {phase}", component=name, reason=explain(error))
        except Exception as error:  # noqa: BLE001 - the way down goes on whatever one component does
            self._overran = True
            self._log.error(f"failed to {phase}", component=name, reason=explain(error), exc=error)

    # --- what services report

    def service_started(self, planned: Planned[Service], seconds: float) -> None:
        self._timeline.record("start", planned.name, self._timeline.now() - seconds, seconds)
        self._health.withdraw(f"service {planned.name}")

    def service_crashed(self, planned: Planned[Service], error: BaseException | None, delay: float | None) -> None:
        self._log.error(
            "service crashed",
            component=planned.name,
            origin=str(planned.origin),
            reason=reason_of(error),
            restart_in=None if delay is None else round(delay, 3),
            exc=error,
        )
        self._health.report(f"service {planned.name}", "DOWN", reason_of(error), critical=planned.value.critical)

    def service_failed_to_start(self, planned: Planned[Service], error: BaseException) -> None:
        error.add_note(f"It happened while starting {planned}.")
        self._fail(error)

    def service_died(self, planned: Planned[Service], error: ServiceDied) -> None:
        if planned.value.critical:
            self._fail(error)

    def _health_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _initializer_ended(self, planned: Planned[Initializer[Any]], task: asyncio.Task[None]) -> None:
        if self._stop_asked.is_set():
            return
        error = None if task.cancelled() else task.exception()
        death = InitializerDied(str(planned), reason_of(error))
        death.__cause__ = error
        self._log.error("initializer ended by itself", component=planned.name, exc=error)
        self._fail(death)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do the work, which takes a bounded time, whatever happens; a cancellation meanwhile is raised once it is done."""
    task = asyncio.create_task(work, name="eggycore stop")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def _starting(services: Iterable[Planned[Service]]) -> str:
    return f"starting {', '.join(planned.name for planned in services)}"


async def _result_of(task: asyncio.Task[None]) -> None:
    """Wait for a task; one that was cancelled cancels nobody who waits for it."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
