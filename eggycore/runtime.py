"""One process of one app: walks the phases top to bottom, and is what every hook is handed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eggycore import log
from eggycore.asking import CORE, ask_plugins
from eggycore.budgets import Budgets
from eggycore.config import (
    Config,
    Configuration,
    Declared,
    Settings,
    Sources,
    load,
)
from eggycore.config.loading import examine
from eggycore.diagnostics import Diagnosis, diagnose, explain
from eggycore.errors import ConfigProblem, UsageError
from eggycore.health import Health
from eggycore.launcher import Launcher
from eggycore.listeners import Address, Listeners
from eggycore.log.settings import LogSettings
from eggycore.metrics import Registry
from eggycore.plan import Plan
from eggycore.plugins import Plugins
from eggycore.process import EXIT_FAILED, FLUSH_TIMEOUT, Process, StopDuringSetup, sigterm_cancels
from eggycore.reloading import Reloads
from eggycore.resources import Resources
from eggycore.runtimes import as_current, as_running
from eggycore.selection import Selection
from eggycore.server.access import Access
from eggycore.server.configuration import ConfigurationService
from eggycore.server.health import HealthService
from eggycore.server.servicers import ServicerRecorder
from eggycore.server.settings import GRPCSettings, HTTPSettings
from eggycore.termination import leave_message
from eggycore.timeline import Timeline
from eggycore.types import Change, Purpose
from eggycore.web.routes import Router

if TYPE_CHECKING:
    from eggycore.config import ReloadResult
    from eggycore.config.sources import Layer
    from eggycore.reload_record import ReloadStatus

__all__ = ["NotConfigured", "Runtime"]

T = TypeVar("T")

CORE_SETTINGS: tuple[type[Settings], ...] = (Config, LogSettings, HTTPSettings, GRPCSettings)


@dataclass(eq=False)
class NotConfigured(UsageError):
    """The configuration was asked for before it was read."""


@diagnose.register
def _(error: NotConfigured) -> Diagnosis:
    return Diagnosis(
        description="The configuration was asked for before it was read.",
        cause="register_settings runs before any configuration is read.",
        action="Read runtime.config in init_infra, register_services, a handler or a run function.",
    )


class Runtime:
    """One process of one app, from nothing to nothing.

    Args:
        app: The app: a module name, a module, or an object with hookimpls; None looks it up.
        selection: Which plugins; None reads EGGYCORE_PLUGINS and pyproject.toml.
        overrides: Values that win over every other layer (`--set`), by variable name.
        environ: The process environment.
        folder: The app's folder: where `.env` and pyproject.toml are looked for; the current one when None.
        objects: Plugins given as (name, object with hookimpls), beside those found by entry point.
        discover: Whether to look for installed plugins, and for the app when none is given.
        given: Settings built in code; each wins as a whole for its type.
    """

    def __init__(
        self,
        *,
        app: str | object | None = None,
        selection: Selection | None = None,
        overrides: Mapping[str, str] | None = None,
        environ: Mapping[str, str] = os.environ,
        folder: Path | None = None,
        objects: Sequence[tuple[str, object]] = (),
        discover: bool = True,
        given: Sequence[Settings] = (),
    ) -> None:
        self.folder = folder or Path.cwd()
        self.timeline = Timeline()
        self.metrics = Registry()
        self.resources = Resources()
        self.health = Health(metrics=self.metrics)
        self.plugins = Plugins(
            selection, app=app, objects=objects, discover=discover, environ=environ, folder=self.folder
        )
        self.draining = asyncio.Event()
        """Set when the process begins to drain: streams should end soon."""
        self.purpose: Purpose = "serve"
        """What is opened for: an initializer contends for nothing in a command, and changes nothing to "examine"."""
        self._listeners = Listeners(resources=self.resources, metrics=self.metrics, health=self.health)
        self._environ = environ
        self._overrides = dict(overrides or {})
        self._given = tuple(given)
        self._declared: tuple[Declared, ...] = ()
        self._reloads: Reloads | None = None
        self._stop_early: tuple[str, int] | None = None
        self._is_logging = False
        self._plan: Plan | None = None
        self._launcher: Launcher | None = None
        self._provided: list[type[Any]] = [Runtime]
        self.resources.provide(Runtime, self)

    # --- what hooks, handlers and commands use

    @property
    def config(self) -> Configuration:
        """The current configuration. Read it once per unit of work, then `config[SomeSettings]`."""
        return self._started_reloads().current

    @property
    def name(self) -> str:
        """SERVICE_NAME."""
        return self.config[Config].service_name

    @property
    def environment(self) -> str:
        """ENVIRONMENT."""
        return self.config[Config].environment

    @property
    def http(self) -> Router:
        """Records the HTTP routes that are served on BUSINESS_HTTP_PORT; closed once the plan is made."""
        return self._listeners.http

    @property
    def grpc(self) -> ServicerRecorder:
        """Records the gRPC servicers that are served on BUSINESS_GRPC_PORT; closed once the plan is made."""
        return self._listeners.grpc

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Host and port of every server that listens now: "http", "grpc", "HEALTH_CHECK_PORT", ..."""
        return self._listeners.addresses

    @property
    def launcher(self) -> Launcher:
        """What carries out the plan; makes the plan if need be."""
        if self._launcher is None:
            self._launcher = self._make_launcher(self.make_plan())
        return self._launcher

    def management(self, port: int, setting: str) -> Router:
        """The router of a management port, served from before the first initializer until the very end.

        Args:
            port: TCP port; 0 takes any free one.
            setting: The variable that names it. Settings that name the same port share one server.
        """
        return self._listeners.management(port, setting)

    def get(self, type_: type[T]) -> T:
        """The resource of this type.

        Raises:
            ResourceMissing: Nothing of this type is open (yet).
        """
        return self.resources.get(type_)

    def provide(self, type_: type[T], value: T) -> None:
        """Make `value` the resource of this type, without an initializer."""
        self._provided.append(type_)
        self.resources.provide(type_, value)

    # --- the phases before anything opens

    def configure(self) -> Configuration:
        """Select, import and register the plugins, and read the configuration. Idempotent.

        Returns:
            The configuration of the start.

        Raises:
            PluginErrors: Every plugin that cannot be used.
            ConfigError: Everything that is wrong with the configuration.
        """
        if self._reloads is None:
            self._declare()
            with self.timeline.span("configure"):
                configuration = load(self._declared, self._sources(), given=self._given)
            self._reloads = Reloads(
                configuration,
                self._declared,
                self._given,
                self.plugins,
                self._sources,
                take_over=self._take_over,
                health=self.health,
                metrics=self.metrics,
            )
        return self.config

    def examine(self, environment: str | None = None) -> tuple[Configuration, tuple[ConfigProblem, ...]]:
        """Read the configuration and go on when something is wrong with it; the runtime itself is not configured.

        Args:
            environment: What ENVIRONMENT is taken to be, whatever is set.

        Returns:
            What could be read, and what is wrong with the rest.

        Raises:
            PluginErrors: Every plugin that cannot be used.
        """
        self._declare()
        return examine(self._declared, replace(self._sources(), environment=environment), given=self._given)

    def _declare(self) -> None:
        """Select, import and register the plugins, and gather their settings. Idempotent."""
        if self._declared:
            return
        with self.timeline.span("import"):
            self.plugins.load()
        for record in self.plugins.records:
            if record.import_seconds:
                self.timeline.record("import", record.name, self.timeline.now(), record.import_seconds)
        self._declared = (
            *(Declared(settings, CORE) for settings in CORE_SETTINGS),
            *(Declared(settings, record.origin) for record, several in self.plugins.settings() for settings in several),
        )

    def _sources(self, overlays: Sequence[Layer] = ()) -> Sources:
        app = self.plugins.app
        return Sources(
            environ=self._environ,
            folder=self.folder,
            overrides=self._overrides,
            defaults={"SERVICE_NAME": app.name} if app is not None else {},
            overlays=tuple(overlays),
        )

    @property
    def declared(self) -> tuple[Declared, ...]:
        """Every settings class with who declared it, once the plugins are loaded."""
        return self._declared

    def start_logging(self) -> None:
        """Open the log as configured. It belongs to the process, not to this runtime.

        Raises:
            LogTargetError: A log file cannot be written.
        """
        core = self.configure()[Config]
        log.init(
            core.log_level,
            core.log_format,
            service=core.service_name,
            environment=core.environment,
            settings=self.config[LogSettings],
        )
        self._is_logging = True
        for record in self.plugins.degraded:
            log.warn("an optional plugin is skipped: it is broken", plugin=str(record.origin), reason=record.reason)
        for near_miss in self.config.unknown:
            log.warn(str(near_miss))

    def make_plan(self) -> Plan:
        """Ask every plugin what it brings, and work out the order. Idempotent; opens nothing.

        Raises:
            HookFailed, WrongResult, PluginErrors: A plugin's hook failed.
            PlanError: The components do not fit together.
        """
        if self._plan is None:
            self.configure()
            with self.timeline.span("plan"), as_current(self):
                self._plan = self._planned()
        return self._plan

    def _planned(self) -> Plan:
        core = self.config[Config]
        if core.enable_health_check:
            router = self.management(core.health_check_port, "HEALTH_CHECK_PORT")
            HealthService(self.health, token=core.management_token, environ=self._environ).add_routes(router)
            ConfigurationService(
                config=lambda: self.config,
                status=lambda: self.reload_status,
                reload=lambda: self.reload(by="the management endpoint"),
                access=Access(core.management_token, self._environ),
            ).add_routes(router)
        return ask_plugins(self, self._listeners, self._provided)

    def _make_launcher(self, plan: Plan) -> Launcher:
        core = self.config[Config]
        launcher = Launcher(
            plan,
            budgets=Budgets(
                startup=core.startup_timeout,
                shutdown=core.shutdown_timeout,
                drain_delay=core.shutdown_drain_delay,
            ),
            resources=self.resources,
            health=self.health,
            timeline=self.timeline,
            draining=self.draining,
        )
        launcher.tally = self._listeners.tally
        if self._stop_early is not None:
            launcher.request_stop(self._stop_early[0], code=self._stop_early[1])
        return launcher

    # --- the life of the process

    def run(self, *, on_ready: Callable[[], None] = lambda: None) -> int:
        """Run until a signal or a failure ends it; owns the process meanwhile. Blocks; main thread only.

        Args:
            on_ready: Called at READY, on the event loop.

        Returns:
            The exit code: 0 stopped cleanly, 1 something had to be cut off.

        Raises:
            EggycoreError, Exception: Whatever made the start fail, or ended the process; everything is closed again.
        """
        with Process() as process:
            try:
                return self._run_in(process, on_ready)
            except StopDuringSetup:  # nothing was opened yet, so this is a clean stop
                return 0
            except Exception as error:
                if self._is_logging:
                    log.error("the process ends", reason=explain(error))
                leave_message(explain(error))
                raise
            finally:
                log.close(FLUSH_TIMEOUT)

    def _run_in(self, process: Process, on_ready: Callable[[], None]) -> int:
        self.configure()
        self.start_logging()
        self.make_plan()

        async def main() -> int:
            process.attach(self)
            self.launcher.on_ready = on_ready
            self.launcher.on_falling = process.must_end_within
            return await self.serve()

        return process.run(main)

    async def serve(self) -> int:
        """Carry out the plan on the running loop, until `request_stop`.

        Returns:
            The exit code: 0 stopped cleanly, 1 something had to be cut off.

        Raises:
            Exception: Whatever made the start fail, or ended the process; everything is closed again.
        """
        launcher = self.launcher
        loop = asyncio.get_running_loop()
        reloads, on_ready, on_falling = self._started_reloads(), launcher.on_ready, launcher.on_falling

        def rise() -> None:
            on_ready()
            reloads.watch()  # what it takes to watch files is not paid for by the start

        def fall(seconds: float) -> None:
            on_falling(seconds)
            reloads.cancel()  # now, while whoever takes a change back finds everything open

        launcher.on_ready, launcher.on_falling = rise, fall
        log.on_fatal(lambda message: _call_soon(loop, self._fatal, message))
        try:
            with as_current(self), as_running(self):
                return await launcher.serve()
        finally:
            log.on_fatal(None)
            await reloads.end()

    @asynccontextmanager
    async def opened(self, purpose: Purpose = "command") -> AsyncIterator[Runtime]:
        """Everything opened and nothing running: for commands that need a database and no server.

        Ctrl-C and SIGTERM close it all again.

        Args:
            purpose: What it is opened for; "examine" changes nothing anywhere.
        """
        self.purpose = purpose
        plan = self.make_plan()
        launcher = self._make_launcher(Plan(initializers=plan.initializers))
        with as_current(self), as_running(self), sigterm_cancels():
            try:
                async with launcher.holding():
                    yield self
            finally:
                await self._started_reloads().end()

    def request_stop(self, reason: str = "requested", *, code: int = 0) -> None:
        """Ask for a clean stop. Idempotent; legal before the start. On the event loop."""
        if self._launcher is None:
            self._stop_early = self._stop_early or (reason, code)
        else:
            self._launcher.request_stop(reason, code=code)

    def _fatal(self, message: str) -> None:
        self.request_stop(f"fatal: {message}", code=EXIT_FAILED)

    # --- a configuration that changes

    def request_reload(self) -> None:
        """Read the configuration again, as SIGHUP asks; the outcome is logged. On the event loop, while serving."""
        if self.draining.is_set():
            log.info("nothing to reload: the process is stopping")
        else:
            with as_current(self):  # for its task: a signal comes in nobody's context
                self._started_reloads().request("SIGHUP")

    async def reload(self, *, by: str = "a request") -> ReloadResult:
        """Read every source again, and take over what may change without a restart, as a transaction; at once.

        Those who ask while a reload goes on share the one after it. The outcome is logged.

        Args:
            by: Who asks, for the log and the status: "the management endpoint".

        Returns:
            What was taken over, what waits for a restart, or why it was refused; it never raises for what it reads.
        """
        with as_current(self):
            return await self._started_reloads().reload(by)

    async def overlay(self, source: str, layers: Sequence[Layer]) -> ReloadResult:
        """Replace what a source lays over the environment, then reload. Legal once configured, also before READY.

        An overlay sets only what a reload may change and what is no secret; all else in it is reported and ignored. The
        layers stay whatever comes of the reload, so that the next one reads them too.

        Args:
            source: Whose layers these are; those of other sources stay.
            layers: Its layers now, a later one over an earlier one; none takes back what it has laid.

        Returns:
            As `reload` does; "scheduled" when CONFIG_RELOAD_SPREAD has a costly change wait.
        """
        with as_current(self):
            return await self._started_reloads().overlay(source, layers)

    @property
    def reload_status(self) -> ReloadStatus:
        """Where the configuration stands: its generation, how the last reload ended, what waits."""
        return self._started_reloads().status

    def _take_over(self, change: Change) -> None:
        core = change.new[Config]
        if "LOG_LEVEL" in change.keys:
            log.set_level(core.log_level)
        self._listeners.configure(change.new)
        if self._launcher is not None:
            self._launcher.set_shutdown_timeout(core.shutdown_timeout)
            self._launcher.set_drain_delay(core.shutdown_drain_delay)

    def _started_reloads(self) -> Reloads:
        if self._reloads is None:
            raise NotConfigured
        return self._reloads


def _call_soon(loop: asyncio.AbstractEventLoop, *call: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(*call)
