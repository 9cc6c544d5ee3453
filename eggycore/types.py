"""What hooks return and what components are handed: frozen data and the protocols at the seams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

__all__ = [
    "Change",
    "CheckKind",
    "Control",
    "Examinable",
    "Finding",
    "HealthCheck",
    "Initializer",
    "Leadership",
    "Origin",
    "Purpose",
    "Requirement",
    "Restart",
    "Service",
    "Stage",
    "Term",
]

T = TypeVar("T")

Stage = Literal["probe", "work", "edge"]
"""Where a service stands in the order: probes start first, edges (HTTP, gRPC) last; stopping is the reverse."""

CheckKind = Literal["ready", "live", "startup"]

Purpose = Literal["serve", "command", "examine"]
"""What a runtime is opened for: to serve, for a command such as a migration, or to look without changing anything."""

Requirement = type[Any] | str
"""A resource type, or the name of an initializer or service. Never the name of a plugin."""


@dataclass(frozen=True)
class Origin:
    """Who declared something: a plugin or the app, with its distribution.

    Args:
        name: The plugin's name, or the app's module.
        dist: Distribution name, "" when it was not installed from one.
        version: Distribution version, "" when unknown.
        kind: "plugin", "app" or "core".
    """

    name: str
    dist: str = ""
    version: str = ""
    kind: Literal["plugin", "app", "core"] = "plugin"

    def __str__(self) -> str:
        if self.kind == "core":
            return "eggycore"
        dist = f" ({self.dist} {self.version})" if self.dist else ""
        return f"{self.kind} {self.name}{dist}"


class Control(Protocol):
    """What the runtime hands to `Service.run`."""

    @property
    def name(self) -> str:
        """The service's name."""

    @property
    def draining(self) -> asyncio.Event:
        """Set when the process begins to drain: still serve, but tell clients and streams to go elsewhere."""

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the service is to take nothing more, finish what is in flight and return."""

    def started(self) -> None:
        """Say that the service serves now. Idempotent. Readiness waits for it."""


@dataclass(frozen=True, kw_only=True)
class Restart:
    """What happens when `Service.run` ends before it was told to stop.

    Args:
        when: "never", or "on-failure" (a return before `stopping` counts as a failure too).
        backoff: Seconds before the first restart; doubled each time, with full jitter.
        backoff_max: Upper bound of that delay, in seconds.
        limit: Restarts allowed inside `window`; the next failure is final.
        window: Length of the sliding window, in seconds.
    """

    when: Literal["never", "on-failure"] = "on-failure"
    backoff: float = 0.5
    backoff_max: float = 30.0
    limit: int = 5
    window: float = 600.0

    def __post_init__(self) -> None:
        if self.backoff < 0 or self.backoff_max < self.backoff or self.limit < 0 or self.window <= 0:
            raise ValueError("Restart takes 0 <= backoff <= backoff_max, limit >= 0 and window > 0")


@dataclass(frozen=True, kw_only=True)
class Initializer(Generic[T]):
    """A named step that opens something and closes it again.

    Args:
        name: Unique among all components of the runtime.
        open: Returns an async context manager; its value is the resource, its exit closes it (also on rollback).
        provides: The type under which the resource is found by `runtime.get(T)` and by handler parameters.
        requires: Resource types or component names that must be open before.
        timeout: Seconds that one attempt may take.
        attempts: Attempts for refused connections, DNS errors and `NotUpYet`; None means until STARTUP_TIMEOUT.
    """

    name: str
    open: Callable[[], AbstractAsyncContextManager[T]]
    provides: type[T] | None = None
    requires: tuple[Requirement, ...] = ()
    timeout: float = 30.0
    attempts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Service:
    """A thing that runs until it is stopped.

    Args:
        name: Unique among all components of the runtime.
        run: Runs until `control.stopping` is set, then finishes and returns. Returning or raising earlier is a crash.
        stage: When it starts relative to others; see `Stage`.
        requires: Resource types or component names that must be there before it starts.
        restart: What happens after a crash.
        critical: A crashed critical service makes readiness red, and ends the process once its restarts are used up.
        stop_timeout: Seconds to finish after `stopping`; None means as long as the shutdown budget allows.
        leader_only: Runs only while this process leads; requires `Leadership`, which a plugin provides. Its `stopping`
            is set when a term ends or the process drains, and `run` is called anew in the next term.
    """

    name: str
    run: Callable[[Control], Awaitable[None]]
    stage: Stage = "work"
    requires: tuple[Requirement, ...] = ()
    restart: Restart = field(default_factory=Restart)
    critical: bool = True
    stop_timeout: float | None = None
    leader_only: bool = False


class Term(Protocol):
    """One time of leading, from the moment it is won until nobody may act in its name any more."""

    @property
    def token(self) -> int:
        """Greater than that of every term before, of whichever process; at most 63 bits."""

    @property
    def over(self) -> asyncio.Event:
        """Set when the term ends, or soon has to: take nothing more, finish, leave."""

    def seconds_left(self) -> float:
        """Seconds until another process may lead, at the earliest; 0 or less: nothing may be done in its name any more.

        Grows with every renewal. Read from a local clock that counts on while the process is stopped; from any thread.
        """


class Leadership:
    """Which of the replicas leads: a resource that a plugin provides, `runtime.get(Leadership)`.

    A class rather than a protocol, so that `runtime.get` and `provides` take it as the type that it is. A process
    that was paused can always believe a moment too long: let what it writes carry the token, and refuse an older one.
    """

    @property
    def identity(self) -> str:
        """The name under which this process leads; no other process has it, not even this one started again."""
        raise NotImplementedError

    @property
    def is_leader(self) -> bool:
        """Whether this process leads now, by the clock at the moment of the call; from any thread."""
        raise NotImplementedError

    @property
    def token(self) -> int:
        """The token of the term that lasts now; from any thread.

        Raises:
            NotLeader: This process does not lead.
        """
        raise NotImplementedError

    def lead(self) -> AbstractAsyncContextManager[Term]:
        """Wait until this process leads, for `async with`: inside the block it does; leave once `term.over` is set.

        Several blocks may be open at once, in the same term. The next term begins when all have been left.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """A question about the process or something it depends on, asked in the background.

    Args:
        name: Lower-case, unique; shown in /healthz and as /readyz/<name>.
        check: Returns (or awaits to) None when healthy; raises otherwise. `Degraded` is neither green nor red,
            `CheckFailed(certain=True)` and a refused connection turn it red at once.
        kinds: Which probes look at it. A "live" check must look only inside the process.
        critical: Whether a red check makes the probe answer 503; otherwise it shows as degraded.
        interval: Seconds between runs.
        timeout: Seconds that one run may take.
        failure_threshold: Failures in a row before it turns red; one success turns it green.
    """

    name: str
    check: Callable[[], Awaitable[object] | object]
    kinds: frozenset[CheckKind] = frozenset({"ready"})
    critical: bool = True
    interval: float = 5.0
    timeout: float = 2.0
    failure_threshold: int = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a resource has found out about itself and what it depends on, for `eggycore doctor`.

    Args:
        subject: What was looked at: "database orders".
        state: "red" keeps the app from doing its work; "warning" does not, yet; "ok" is worth knowing.
        text: What was found, a sentence without secrets.
        action: What to do about it, "" when nothing needs doing.
    """

    subject: str
    state: Literal["ok", "warning", "red"]
    text: str
    action: str = ""


@runtime_checkable
class Examinable(Protocol):
    """A resource, provided by an initializer, that `eggycore doctor` asks how it is."""

    async def examine(self, *, replicas: int) -> Iterable[Finding]:
        """Look at itself and at what it depends on, in a few seconds.

        Args:
            replicas: How many replicas of the app are to run at once, for limits that they share; at least 1.
        """


@dataclass(frozen=True, kw_only=True)
class Change:
    """A configuration change, as `check_config` and `config_changed` receive it.

    Args:
        keys: Variable names whose value differs between `old` and `new`.
        old: The configuration before; read it like `runtime.config`.
        new: The configuration after.
        inverse: True when a change that some plugin had already been told is being taken back.
    """

    keys: frozenset[str]
    old: Any
    new: Any
    inverse: bool = False
