"""The reload of a configuration, as a transaction: all take it over, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from eggycore.config.checks import port_conflicts, settings_problems
from eggycore.config.configuration import Configuration, Value
from eggycore.config.declared import Declared
from eggycore.config.loading import load
from eggycore.config.settings import Settings
from eggycore.config.sources import Sources
from eggycore.config.telling import tell
from eggycore.errors import ConfigError, ConfigProblem, UsageError
from eggycore.types import Change

__all__ = ["Listener", "Outcome", "ReloadResult", "Reloader"]

Outcome = Literal["applied", "unchanged", "scheduled", "refused", "undone"]


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Someone who has a say in a reload, or takes it over.

    Args:
        name: Who it is, for reports: "plugin db (eggycore-db 0.1.0)".
        check_config: Called before the swap; raises to refuse.
        config_changed: Called after the swap; awaited, for at most 20 s, when it returns an awaitable. One that raises
            must leave itself as it was: only those told before it get the inverse change. Everybody gets one when the
            new configuration does not stand the test of the seconds after it.
    """

    name: str
    check_config: Callable[[Change], None] | None = None
    config_changed: Callable[[Change], Awaitable[None] | None] | None = None


@dataclass(frozen=True, kw_only=True)
class ReloadResult:
    """How a reload ended.

    Args:
        outcome: "applied"; "unchanged": no reloadable variable differs; "scheduled": it is right, and is taken over
            later (CONFIG_RELOAD_SPREAD); "refused": the new configuration is wrong, or a listener refused it before
            the swap; "undone": a listener raised after the swap, or readiness was lost soon after it, and the old one
            is back.
        generation: The generation in force now.
        changed: The reloadable variables that differ: taken over when applied, not otherwise.
        pending: Variables whose new value waits for a restart.
        error: Why it was refused or undone.
        blamed: The listener that raised it, "" when the configuration itself is wrong.
        stranded: Listeners, with their errors, that did not take the inverse change: they may hold the new values.
        warnings: What the sources hold that has no effect, in sentences: names that nobody declares, and `ignored`.
        ignored: Keys that an overlay holds and may not set, in sentences.
    """

    outcome: Outcome
    generation: int
    changed: frozenset[str] = frozenset()
    pending: frozenset[str] = frozenset()
    error: Exception | None = None
    blamed: str = ""
    stranded: tuple[tuple[str, Exception], ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class Reloader:
    """Holds the configuration in force, and replaces it.

    Reading `current` is safe from every thread and costs an attribute; whoever reads it once holds one consistent
    configuration. Reloads belong to one event loop and wait for each other.

    Args:
        configuration: The configuration of the start.
        declared: The settings, as given to `load`.
        given: Settings made in code, as given to `load`: no reload changes them.
        listeners: Who is asked and told, in this order.
        longest: Seconds that each may take over a change; then it is cancelled, and counts as one that raised.
    """

    def __init__(
        self,
        configuration: Configuration,
        declared: Sequence[Declared],
        *,
        given: Sequence[Settings] = (),
        listeners: Sequence[Listener] = (),
        longest: float = 20.0,
    ) -> None:
        self._current = configuration
        self._declared = tuple(declared)
        self._given = tuple(given)
        self._listeners = tuple(listeners)
        self._longest = longest
        self._last_generation = configuration.generation
        self._pending: frozenset[str] = frozenset()
        self._warnings: tuple[str, ...] = ()
        self._ignored: tuple[str, ...] = ()
        self._turn = asyncio.Lock()

    @property
    def current(self) -> Configuration:
        """The configuration in force."""
        return self._current

    @property
    def pending(self) -> frozenset[str]:
        """Variables whose value, as last read, waits for a restart."""
        return self._pending

    async def reload(self, sources: Sources, *, now: Callable[[Change], bool] = lambda change: True) -> ReloadResult:
        """Read the sources again and take over what may change; never raises for what they say.

        The files are read in a worker thread. Cancelled half-way, it takes back what it did.

        Args:
            sources: Where to read.
            now: Asked about a change that is right, before the listeners are: whether to take it over; False leaves it
                for later. May raise a `UsageError` to refuse it.
        """
        async with self._turn:
            try:
                read = await asyncio.to_thread(load, self._declared, sources, given=self._given)
                changed, self._pending = _difference(self._current, read)
                self._note(read)
                merged = _merged(self._current, read, changed, self._last_generation + 1)
                _check(merged, self._pending)
                change = Change(keys=changed, old=self._current, new=merged)
                if changed and not now(change):
                    return self._result("scheduled", changed)
            except UsageError as error:  # kept as the last one: its frames hold everything that was read
                return self._result("refused", error=error.with_traceback(None))
            if not changed:
                self._current = _with_notes(self._current, read)
                return self._result("unchanged")
            return await self._take_over(change)

    def _note(self, read: Configuration) -> None:
        self._ignored = tuple(map(str, read.ignored))
        self._warnings = (*map(str, read.unknown), *self._ignored)

    def differing(self, other: Configuration) -> frozenset[str]:
        """The variables that a return to another configuration would change."""
        return _difference(self._current, other)[0]

    async def go_back(self, proven: Configuration, why: Exception) -> ReloadResult:
        """Return to a configuration that was in force before, though everybody has taken over the current one.

        Args:
            proven: The configuration.
            why: The reason, for the result.
        """
        async with self._turn:
            changed = self.differing(proven)
            change = Change(keys=changed, old=proven, new=self._current)
            stranded = await self._take_back(change, self._listeners)
            return self._result("undone", changed, error=why, stranded=stranded)

    async def _take_over(self, change: Change) -> ReloadResult:
        refusal = self._refusal(change)
        if refusal is not None:
            return refusal
        self._last_generation = change.new.generation
        self._current = change.new
        told: list[Listener] = []
        for listener in self._listeners:
            try:
                await self._tell(listener, change)
            except Exception as error:  # noqa: BLE001  (a plugin's code, and its error is in the result)
                stranded = await self._take_back(change, told)
                return self._result("undone", change.keys, error=error, blamed=listener.name, stranded=stranded)
            except BaseException:
                await self._take_back(change, told)
                raise
            told.append(listener)
        return self._result("applied", change.keys)

    def _refusal(self, change: Change) -> ReloadResult | None:
        for listener in self._listeners:
            try:
                if listener.check_config is not None:
                    listener.check_config(change)
            except Exception as error:  # noqa: BLE001  (a plugin's code, and its error is in the result)
                return self._result("refused", change.keys, error=error, blamed=listener.name)
        return None

    async def _take_back(self, change: Change, told: Sequence[Listener]) -> tuple[tuple[str, Exception], ...]:
        self._current = change.old
        inverse = Change(keys=change.keys, old=change.new, new=change.old, inverse=True)
        stranded: list[tuple[str, Exception]] = []
        for listener in reversed(told):
            try:
                await self._tell(listener, inverse)
            except Exception as error:  # noqa: BLE001  (the others must still be told; it is in the result)
                stranded.append((listener.name, error))
        return tuple(stranded)

    async def _tell(self, listener: Listener, change: Change) -> None:
        if listener.config_changed is not None:
            await tell(listener.name, listener.config_changed, change, longest=self._longest)

    def _result(
        self,
        outcome: Outcome,
        changed: frozenset[str] = frozenset(),
        *,
        error: Exception | None = None,
        blamed: str = "",
        stranded: tuple[tuple[str, Exception], ...] = (),
    ) -> ReloadResult:
        return ReloadResult(
            outcome=outcome,
            generation=self._current.generation,
            changed=changed,
            pending=self._pending,
            error=error,
            blamed=blamed,
            stranded=stranded,
            warnings=self._warnings,
            ignored=self._ignored,
        )


def _difference(old: Configuration, new: Configuration) -> tuple[frozenset[str], frozenset[str]]:
    """The variables that differ: those that a reload may change, and those that wait for a restart."""
    both = new.values.keys() & old.values.keys()  # members of a family come and go, which waits for a restart
    differ = frozenset(key for key in both if new.values[key].value != old.values[key].value)
    rewritten = frozenset(key for key in both - differ if new.values[key].content != old.values[key].content)
    changed = frozenset(key for key in differ if new.owned[key].variable.reload)
    return changed | rewritten, differ - changed


def _merged(old: Configuration, new: Configuration, changed: frozenset[str], generation: int) -> Configuration:
    """The old configuration with the new values, origins included, of the variables that may change."""
    values = {**old.values, **{key: new.values[key] for key in changed}}
    return Configuration(
        owned=old.owned,
        values=values,
        instances={
            settings: _with(instance, values) if _touched(settings, changed) else instance
            for settings, instance in old.instances.items()
        },
        unknown=new.unknown,
        ignored=new.ignored,
        generation=generation,
    )


def _with_notes(current: Configuration, read: Configuration) -> Configuration:
    """The configuration in force, with what was found in the sources that has no effect."""
    if (current.unknown, current.ignored) == (read.unknown, read.ignored):
        return current
    return Configuration(
        owned=current.owned,
        values=current.values,
        instances=current.instances,
        unknown=read.unknown,
        ignored=read.ignored,
        generation=current.generation,
    )


def _touched(settings: type[Settings], changed: frozenset[str]) -> bool:
    return any(variable.key in changed for variable in settings.__variables__)


def _with(instance: Settings, values: Mapping[str, Value]) -> Settings:
    variables = instance.__variables__
    return type(instance)(**{variable.attribute: values[variable.key].value for variable in variables})


def _check(merged: Configuration, pending: frozenset[str]) -> None:
    """What is right in the sources can be wrong next to values that wait for a restart."""
    problems: list[ConfigProblem] = [
        *port_conflicts(merged.owned.values(), merged.values),
        *settings_problems(merged.instances, merged.owned, merged.values),
    ]
    if problems:
        wait = f" Or restart: {', '.join(sorted(pending))} cannot change before."
        raise ConfigError(tuple(replace(problem, action=f"{problem.action}{wait}") for problem in problems))
