"""The contract between core and plugins: every hook, when it is called, what it is given and what it returns.

A hook implementation is a plain function (or generator) on a module or object, marked with `@hookimpl` and
advertised by an entry point of group `eggycore.plugins`. Hooks declare; the runtime awaits. They are called plugin
by plugin in the given order, the app last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from eggycore.config import Settings
    from eggycore.runtime import Runtime
    from eggycore.types import Change, HealthCheck, Initializer, Service

__all__ = [
    "check_config",
    "config_changed",
    "hookimpl",
    "hookspec",
    "init_infra",
    "register_health_checks",
    "register_services",
    "register_settings",
]

PROJECT = "eggycore"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


@hookspec
def register_settings() -> type[Settings] | Iterable[type[Settings]] | None:
    """Declare the plugin's settings.

    Called right after the plugin's module was imported, before any configuration is read.

    Returns:
        One `Settings` class, or several.

    Example:
        >>> from eggycore import Settings, env, hookimpl
        >>> class TickSettings(Settings):
        ...     every: float = env("TICK_EVERY", default=0.1, ge=0.01, unit="s", doc="Time between ticks.")
        >>> @hookimpl
        ... def register_settings():
        ...     return TickSettings
    """


@hookspec
def init_infra(runtime: Runtime) -> Initializer[object] | Iterable[Initializer[object]] | None:
    """Declare what must be opened before services start: pools, clients, files.

    Called during plan: `runtime.config` is readable, nothing is open yet.

    Args:
        runtime: The runtime that is being planned.

    Returns:
        One `Initializer`, or several. They are opened one after another, providers before those that require them.

    Example:
        >>> from contextlib import asynccontextmanager
        >>> from eggycore import Initializer, hookimpl
        >>> @hookimpl
        ... def init_infra(runtime):
        ...     @asynccontextmanager
        ...     async def open_words():
        ...         yield {"hello": "world"}
        ...     return Initializer(name="words", open=open_words, provides=dict)
    """


@hookspec
def register_services(runtime: Runtime) -> Service | Iterable[Service] | None:
    """Declare what runs, and record HTTP routes and gRPC servicers.

    Called during plan, after every `init_infra`. `runtime.http` and `runtime.grpc` record what is declared; their
    servers exist only when something was recorded.

    Args:
        runtime: The runtime that is being planned. Resources are not open yet; handlers and `run` get them later.

    Returns:
        One `Service`, several, or nothing when only routes are recorded. Objects with async `start()` and
        `stop()` are adapted.

    Example:
        >>> from eggycore import hookimpl
        >>> async def hello(request):
        ...     return {"hello": request.match_info["name"]}
        >>> @hookimpl
        ... def register_services(runtime):
        ...     runtime.http.get("/hello/{name}", hello)
    """


@hookspec
def register_health_checks(runtime: Runtime) -> HealthCheck | Iterable[HealthCheck] | None:
    """Declare health checks.

    Called during plan, after every `register_services`. The checks themselves run in the background once
    everything is open; probes only read the last result.

    Args:
        runtime: The runtime that is being planned.

    Returns:
        One `HealthCheck`, or several.

    Example:
        >>> import shutil
        >>> from eggycore import CheckFailed, HealthCheck, hookimpl
        >>> def disk():
        ...     if shutil.disk_usage("/").free < 10_000_000:
        ...         raise CheckFailed("less than 10 MB free")
        >>> @hookimpl
        ... def register_health_checks(runtime):
        ...     return HealthCheck(name="disk", check=disk, critical=False, interval=30)
    """


@hookspec
def check_config(change: Change) -> None:
    """Look at a new configuration before it is swapped in, and refuse it if it cannot be used.

    Called for every reload that changes at least one reloadable key, plugin by plugin, before any is told; from the
    moment when the configuration is read, so perhaps before the plugin's resources are open. It must be quick: it is on
    the event loop.

    Args:
        change: The keys that differ, the old and the new configuration. A key is also there when only the content of
            the file has changed that its value names (`contents=True`).

    Raises:
        ConfigRefused: The reload is dropped and the reason reported, in the log and in health, so never put a secret in
            it; the old configuration stays.

    Example:
        >>> from eggycore import ConfigRefused, hookimpl
        >>> @hookimpl
        ... def check_config(change):
        ...     if "TICK_EVERY" in change.keys and not change.new:
        ...         raise ConfigRefused("TICK_EVERY cannot be empty")
    """


@hookspec
def config_changed(change: Change) -> Awaitable[None] | None:
    """Take over a new configuration.

    Called after the swap, plugin by plugin; the only hook that may be async. If one raises, those already told get
    the inverse change and the old configuration returns. So it does when a critical check turns red in the 30 s after
    it: then everybody gets the inverse change, in reverse order. What is awaited may take 20 s; after that it is
    cancelled, and counts as having raised.

    It may be called at any time after the configuration was read: before the plugin's resources are open (then there
    is nothing to do: they read `runtime.config` when they open) and while the process drains.

    Args:
        change: The keys that differ, the old and the new configuration; `inverse` when it is taken back.

    Example:
        >>> from eggycore import hookimpl
        >>> @hookimpl
        ... async def config_changed(change):
        ...     if "TICK_EVERY" in change.keys:
        ...         print("ticking differently now")
    """
