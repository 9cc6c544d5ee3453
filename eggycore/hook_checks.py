"""Looks at the hook implementations of one plugin before they are registered, and says all that is wrong with them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pluggy import PluginManager

from eggycore.types import Origin

if TYPE_CHECKING:
    from eggycore.plugin_errors import PluginProblem

__all__ = ["HookChecks"]

MAY_BE_ASYNC = frozenset({"config_changed"})
ORDERING_OPTIONS = ("wrapper", "hookwrapper", "tryfirst", "trylast")


@dataclass(eq=False)
class HookChecks:
    """The checks of one plugin manager; remembers every function, to find one that comes twice.

    Args:
        manager: Knows what marks a hook implementation.
        hooks: The arguments of every hook there is.
    """

    manager: PluginManager
    hooks: dict[str, tuple[str, ...]]
    _first: dict[tuple[int, object], Origin] = field(default_factory=dict)

    def problems(self, plugin: object, origin: Origin) -> Iterator[PluginProblem]:
        """Everything that is wrong with the hook implementations of `plugin`."""
        marked = {name: options for name in dir(plugin) if (options := self.manager.parse_hookimpl_opts(plugin, name))}
        unknown = []
        for name, options in marked.items():
            hook = options["specname"] or name
            if hook in self.hooks:
                yield from self._problems_of(getattr(plugin, name), hook, dict(options), origin)
            elif not options["optionalhook"]:
                unknown.append(hook)
        if unknown:
            from eggycore.plugin_errors import UnknownHooks

            yield UnknownHooks(origin, tuple(unknown), tuple(self.hooks))
        yield from self._unmarked(plugin, marked.keys(), origin)

    def _problems_of(
        self, function: Callable[..., object], hook: str, options: dict[str, Any], origin: Origin
    ) -> Iterator[PluginProblem]:
        if given := tuple(option for option in ORDERING_OPTIONS if options[option]):
            from eggycore.plugin_errors import OptionsOnHook

            yield OptionsOnHook(origin, hook, given)
        if _is_async(function, hook):
            from eggycore.plugin_errors import AsyncHook

            yield AsyncHook(origin, hook)
        if wrong := tuple(name for name in _required_arguments(function) if name not in self.hooks[hook]):
            from eggycore.plugin_errors import WrongHookArguments

            yield WrongHookArguments(origin, hook, wrong, self.hooks[hook])
        key = (id(getattr(function, "__self__", None)), getattr(function, "__func__", function))
        if (first := self._first.setdefault(key, origin)) is not origin:
            from eggycore.plugin_errors import SharedHook

            yield SharedHook(origin, hook, first)

    def _unmarked(self, plugin: object, marked: Collection[str], origin: Origin) -> Iterator[PluginProblem]:
        if not isinstance(plugin, ModuleType):
            return
        for hook in self.hooks.keys() - set(marked):
            function = vars(plugin).get(hook)
            if inspect.isfunction(function) and function.__module__ == plugin.__name__:
                from eggycore.plugin_errors import UnmarkedHook

                yield UnmarkedHook(origin, hook)


def _is_async(function: Callable[..., object], hook: str) -> bool:
    if inspect.iscoroutinefunction(function):
        return hook not in MAY_BE_ASYNC
    return inspect.isasyncgenfunction(function)


def _required_arguments(function: Callable[..., object]) -> list[str]:
    collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.default is each.empty and each.kind not in collecting]
