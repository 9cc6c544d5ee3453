"""eggycore: a plugin-driven runtime for Python microservices. Importing this package loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore.boot import abootstrap, bootstrap
    from eggycore.config import Config, Secret, Settings, env, must_read_from_env, read_from_env
    from eggycore.errors import (
        CheckFailed,
        ConfigError,
        ConfigRefused,
        Degraded,
        EggycoreError,
        NotLeader,
        NotUpYet,
        Unavailable,
    )
    from eggycore.hookspecs import hookimpl
    from eggycore.launcher import Launcher
    from eggycore.runtime import Runtime
    from eggycore.runtimes import current
    from eggycore.types import (
        Change,
        Control,
        Examinable,
        Finding,
        HealthCheck,
        Initializer,
        Leadership,
        Restart,
        Service,
        Term,
    )

__version__ = "0.1.0"

_HOME = {
    "Change": "eggycore.types",
    "CheckFailed": "eggycore.errors",
    "Config": "eggycore.config",
    "ConfigError": "eggycore.errors",
    "ConfigRefused": "eggycore.errors",
    "Control": "eggycore.types",
    "Degraded": "eggycore.errors",
    "EggycoreError": "eggycore.errors",
    "Examinable": "eggycore.types",
    "Finding": "eggycore.types",
    "HealthCheck": "eggycore.types",
    "Initializer": "eggycore.types",
    "Launcher": "eggycore.launcher",
    "Leadership": "eggycore.types",
    "NotLeader": "eggycore.errors",
    "NotUpYet": "eggycore.errors",
    "Restart": "eggycore.types",
    "Runtime": "eggycore.runtime",
    "Secret": "eggycore.config",
    "Service": "eggycore.types",
    "Settings": "eggycore.config",
    "Term": "eggycore.types",
    "Unavailable": "eggycore.errors",
    "abootstrap": "eggycore.boot",
    "bootstrap": "eggycore.boot",
    "current": "eggycore.runtimes",
    "env": "eggycore.config",
    "hookimpl": "eggycore.hookspecs",
    "must_read_from_env": "eggycore.config",
    "read_from_env": "eggycore.config",
}

__all__ = [
    "Change",
    "CheckFailed",
    "Config",
    "ConfigError",
    "ConfigRefused",
    "Control",
    "Degraded",
    "EggycoreError",
    "Examinable",
    "Finding",
    "HealthCheck",
    "Initializer",
    "Launcher",
    "Leadership",
    "NotLeader",
    "NotUpYet",
    "Restart",
    "Runtime",
    "Secret",
    "Service",
    "Settings",
    "Term",
    "Unavailable",
    "abootstrap",
    "bootstrap",
    "current",
    "env",
    "hookimpl",
    "must_read_from_env",
    "read_from_env",
]


def __getattr__(name: str) -> object:
    if (home := _HOME.get(name)) is None:
        raise AttributeError(f"module 'eggycore' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
