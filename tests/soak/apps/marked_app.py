"""An app with one number that may change while it runs; it says each that it is told of."""

from __future__ import annotations

from eggycore import Settings, env, hookimpl, log
from eggycore.types import Change


class Marks(Settings):
    """The number."""

    mark: int = env("MARK", default=0, ge=0, reload=True, doc="A number that only grows.")


@hookimpl
def register_settings() -> type[Marks]:
    """MARK."""
    return Marks


@hookimpl
def config_changed(change: Change) -> None:
    """Say it."""
    log.info("told", mark=change.new[Marks].mark)
