"""The configuration reloads of one runtime: puts its plugins behind them, and says how each ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.config import Config, Configuration, Declared, Settings, Sources
from eggycore.diagnostics import explain
from eggycore.plugins import PluginRecord, Plugins
from eggycore.types import Change

if TYPE_CHECKING:
    from eggycore.config import Reloader, ReloadResult

__all__ = ["Reloads"]


class Reloads:
    """Reloads one configuration, and owns the tasks in which that happens.

    Args:
        configuration: The configuration of the start.
        declared: Its settings.
        given: Settings made in code, which no reload changes.
        plugins: Who is asked and told: the core first, then every active plugin in the given order, the app last.
        sources: Where the configuration is read anew.
    """

    def __init__(
        self,
        configuration: Configuration,
        declared: Sequence[Declared],
        given: Sequence[Settings],
        plugins: Plugins,
        sources: Callable[[], Sources],
    ) -> None:
        self._first = configuration
        self._declared = declared
        self._given = given
        self._plugins = plugins
        self._sources = sources
        self._reloader: Reloader | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> Configuration:
        """The configuration in force."""
        return self._first if self._reloader is None else self._reloader.current

    async def reload(self) -> ReloadResult:
        """Read every source again, and take over what may change, as a transaction."""
        if self._reloader is None:
            self._reloader = self._make_reloader()
        return await self._reloader.reload(self._sources())

    def request(self) -> None:
        """Reload in a task of its own, and log how it ended."""
        task = asyncio.create_task(self._reload_and_log(), name="eggycore reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancel what is going on; it takes back what it has done."""
        for task in self._tasks:
            task.cancel()

    async def end(self) -> None:
        """Cancel what is going on, and wait until it has ended."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _reload_and_log(self) -> None:
        result = await self.reload()
        say = log.info if result.error is None else log.error
        say(
            f"configuration {result.outcome}",
            generation=result.generation,
            changed=sorted(result.changed),
            pending_restart=sorted(result.pending),
            blamed=result.blamed or None,
            reason=explain(result.error) if result.error is not None else None,
        )

    def _make_reloader(self) -> Reloader:
        from eggycore.config import Listener, Reloader

        told = [
            Listener(
                name=str(record.origin),
                check_config=partial(self._check_config, record),
                config_changed=partial(self._config_changed, record),
            )
            for record in self._plugins.active
        ]
        core = Listener(name="eggycore", config_changed=_take_over_core)
        return Reloader(self._first, self._declared, given=self._given, listeners=[core, *told])

    def _check_config(self, record: PluginRecord, change: Change) -> None:
        self._plugins.ask(record, "check_config", change=change)

    async def _config_changed(self, record: PluginRecord, change: Change) -> None:
        await self._plugins.tell(record, "config_changed", change=change)


def _take_over_core(change: Change) -> None:
    if "LOG_LEVEL" in change.keys:
        log.set_level(change.new[Config].log_level)
