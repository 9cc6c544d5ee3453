"""The core configuration of this process, for code that no runtime is handed to."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

from eggycore.config.core import Config
from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError

__all__ = ["NoCurrentConfig", "get", "set"]


@dataclass(eq=False)
class NoCurrentConfig(UsageError):
    """The process-wide configuration was asked for before anyone set it."""


@diagnose.register
def _(error: NoCurrentConfig) -> Diagnosis:
    return Diagnosis(
        description="There is no current configuration.",
        cause="Nothing was set in this process yet.",
        action="Call eggycore.config.set(read_from_env(Config)) first, or read runtime.config of the runtime at hand.",
    )


_lock = Lock()
_current: Config | None = None


def get() -> Config:
    """The core configuration that was set last. Thread-safe; a held one never changes.

    Raises:
        NoCurrentConfig: None was set.
    """
    with _lock:
        if _current is None:
            raise NoCurrentConfig
        return _current


def set(cfg: Config) -> None:
    """Make this the core configuration of the process. Thread-safe."""
    global _current
    with _lock:
        _current = cfg
