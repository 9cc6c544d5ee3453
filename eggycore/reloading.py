"""Puts the plugins of a runtime behind its configuration reloads, and says how a reload ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from eggycore import log
from eggycore.config import Config, Configuration, Declared, Listener, Reloader, ReloadResult, Settings
from eggycore.diagnostics import explain
from eggycore.plugins import PluginRecord, Plugins
from eggycore.types import Change

__all__ = ["log_reload", "make_reloader"]


def make_reloader(
    configuration: Configuration, declared: Sequence[Declared], given: Sequence[Settings], plugins: Plugins
) -> Reloader:
    """A reloader that asks and tells the core first, then every active plugin in the given order, the app last."""
    listeners = [
        Listener(
            name=str(record.origin),
            check_config=partial(_check_config, plugins, record),
            config_changed=partial(_config_changed, plugins, record),
        )
        for record in plugins.active
    ]
    core = Listener(name="eggycore", config_changed=_take_over_core)
    return Reloader(configuration, declared, given=given, listeners=[core, *listeners])


def log_reload(result: ReloadResult) -> None:
    """One line: what was taken over, what waits for a restart, or why the old configuration stays."""
    say = log.info if result.error is None else log.error
    say(
        f"configuration {result.outcome}",
        generation=result.generation,
        changed=sorted(result.changed),
        pending_restart=sorted(result.pending),
        blamed=result.blamed or None,
        reason=explain(result.error) if result.error is not None else None,
    )


def _take_over_core(change: Change) -> None:
    if "LOG_LEVEL" in change.keys:
        log.set_level(change.new[Config].log_level)


def _check_config(plugins: Plugins, record: PluginRecord, change: Change) -> None:
    plugins.ask(record, "check_config", change=change)


async def _config_changed(plugins: Plugins, record: PluginRecord, change: Change) -> None:
    await plugins.tell(record, "config_changed", change=change)
