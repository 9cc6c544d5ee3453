"""The error tree: data only. `eggycore.diagnostics` turns an error into description, cause and action."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

__all__ = [
    "CheckFailed",
    "ConfigError",
    "ConfigProblem",
    "ConfigRefused",
    "Degraded",
    "EggycoreError",
    "NotLeader",
    "NotUpYet",
    "Unavailable",
    "UsageError",
]


class EggycoreError(Exception):
    """The root of every error that eggycore raises on purpose.

    Subclasses are dataclasses of typed fields; `str()` is the one-line description of their diagnosis.
    """

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        from eggycore.diagnostics import diagnose

        return diagnose(self).description


class UsageError(EggycoreError):
    """The command, the configuration or the wiring is wrong: exit code 2, nothing was opened."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, kw_only=True)
class ConfigProblem:
    """One thing wrong with one variable. `value` is already masked when the setting is a secret.

    Args:
        key: Variable name, for example "BUSINESS_HTTP_PORT".
        reason: What is wrong, without the value: "not a whole number".
        value: The offending value as it may be shown, or None when it was missing or is a secret.
        origin: Where it was set: "environment", ".env line 3", "--set", "default", "" when nowhere.
        owner: Who declared the variable: "eggycore", "plugin db (eggycore-db 0.1.0)".
        action: What to do about it.
    """

    key: str
    reason: str
    value: str | None = None
    origin: str = ""
    owner: str = ""
    action: str = ""


@dataclass(eq=False)
class ConfigError(UsageError):
    """The configuration cannot be used. Holds every problem of every plugin, not the first.

    Args:
        problems: What is wrong.
        warnings: Sentences on what may be why: variables whose names are one slip away from a known one.
    """

    problems: tuple[ConfigProblem, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())


class ConfigRefused(EggycoreError):
    """Raised by `check_config`: the new configuration must not be swapped in.

    Args:
        reason: Why; shown in the log and in health, so never put a secret in it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class Unavailable(EggycoreError):
    """Something that the work needs does not answer now; trying again may help. Subclass it as a dataclass.

    A request whose handler raises it is answered with 503 and `Retry-After: 1`, a gRPC call with UNAVAILABLE. Both
    carry the description of its diagnosis, so that must be fit for strangers; cause and action stay inside.
    """


@dataclass(eq=False)
class NotLeader(Unavailable):
    """What only the leader may do was asked of a process that does not lead (any more)."""


class NotUpYet(EggycoreError):
    """Raised by an initializer while what it opens is not up yet. Subclass it as a dataclass.

    Opening is tried again with backoff until STARTUP_TIMEOUT, like after a refused connection; the last one raised is
    the reason of a start that fails.
    """


class CheckFailed(EggycoreError):
    """Raised by a health check that fails.

    Args:
        reason: Shown with ?verbose to those who may see details; never put a secret in it.
        certain: Turn red at once instead of after `failure_threshold` failures in a row.
    """

    def __init__(self, reason: str, *, certain: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.certain = certain

    def __str__(self) -> str:
        return self.reason


class Degraded(EggycoreError):
    """Raised by a health check that is neither green nor red: it works, but worse than it should."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason
