"""Finds, selects, imports, checks and registers plugins, calls their hooks, and reports on all of it."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pluggy import HookImpl, PluginManager

import eggycore
from eggycore import entry_points, hookspecs
from eggycore.compatibility import refused_by
from eggycore.containment import contained
from eggycore.diagnostics import diagnose
from eggycore.errors import ConfigRefused, EggycoreError, UsageError
from eggycore.hook_checks import HookChecks
from eggycore.hook_results import UnexpectedResult, expectation, flatten
from eggycore.plugin_record import PluginRecord, PluginState
from eggycore.project import App, AppNotFound, Project, find_app
from eggycore.selection import Selection
from eggycore.types import Origin

if TYPE_CHECKING:
    from eggycore.config import Settings

__all__ = ["PluginRecord", "PluginState", "Plugins", "Selection"]


class Plugins:
    """The plugins of one runtime.

    Args:
        selection: Which plugins; None reads EGGYCORE_PLUGINS and pyproject.toml.
        app: "module" or "module:object", an object with hookimpls, or None to look it up (see `project.find_app`).
        objects: Plugins given as (name, object with hookimpls). They are active unless excluded, stand where the
            selection names them or else behind the installed ones, and replace an installed one of the same name.
        discover: Whether to look for installed plugins, and for the app when none is given.
        environ: The process environment.
        folder: The app's folder, with pyproject.toml; the current one when None.
        path: Where installed distributions are searched; `sys.path` when None.
    """

    def __init__(
        self,
        selection: Selection | None = None,
        *,
        app: object | str | None = None,
        objects: Sequence[tuple[str, object]] = (),
        discover: bool = True,
        environ: Mapping[str, str] = os.environ,
        folder: Path | None = None,
        path: Sequence[str] | None = None,
    ) -> None:
        self.app: App | None = None
        self.app_record: PluginRecord | None = None
        self.records: tuple[PluginRecord, ...] = ()
        self._asked = app
        self._objects = dict(objects)
        self._discover = discover
        self._environ = environ
        self._folder = folder or Path.cwd()
        self._path = path
        self._selection = selection
        self._problems: list[EggycoreError] = []
        self._settings: list[tuple[PluginRecord, list[Any]]] = []
        self._implementations: dict[tuple[PluginRecord, str], list[HookImpl]] = {}
        self._manager = PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._checks = HookChecks(self._manager, _arguments_of_hooks(self._manager))
        self._found = False

    def find(self) -> tuple[PluginRecord, ...]:
        """Everything installed or given, active ones first and in calling order. Imports nothing, raises nothing.

        What is wrong with the selection, the project or the app is kept and raised by `load`.
        """
        if self._found:
            return self.records
        self._found = True
        project = self._read_project()
        self._find_app(project)
        from_outside = Selection.read(None, (), self._environ, project) if self._discover else Selection()
        self._select(self._selection or from_outside)
        return self.records

    def load(self) -> None:
        """Import and register what is selected, the app last, and ask everything for its settings.

        Raises:
            PluginErrors: Everything that is wrong, in one error. Optional plugins that are broken are skipped.
        """
        self.find()
        for record in self._active():
            self._load(record)
        self._settings = self._call("register_settings", {})
        self._raise_problems()

    def settings(self) -> list[tuple[PluginRecord, list[type[Settings]]]]:
        """What `register_settings` of every plugin returned when it was loaded, the app last."""
        return [(record, settings) for record, settings in self._settings if record.state == "active"]

    def call(self, hook: str, **arguments: object) -> list[tuple[PluginRecord, list[Any]]]:
        """Call a hook plugin by plugin in the given order, the app last.

        An optional plugin that fails becomes broken; drop what it returned for earlier hooks (see `record.state`).

        Args:
            hook: Its name; "register_settings" is called by `load` alone, and here answers what was returned then.
            arguments: The hook's arguments.

        Returns:
            For every plugin that implements the hook its results, flattened and of the right type.

        Raises:
            HookFailed, WrongResult: One plugin failed.
            PluginErrors: Several failed.
        """
        if hook == "register_settings":
            return list(self.settings())
        results = self._call(hook, arguments)
        if len(self._problems) == 1:
            raise self._problems.pop()
        self._raise_problems()
        return results

    @property
    def active(self) -> tuple[PluginRecord, ...]:
        """The plugins whose hooks are called, in calling order, the app last."""
        return tuple(self._active())

    def implementing(self, hook: str) -> tuple[PluginRecord, ...]:
        """The active plugins that implement a hook, in calling order."""
        return tuple(record for record in self._active() if hook in record.hooks)

    def ask(self, record: PluginRecord, hook: str, **arguments: object) -> list[Any]:
        """Call a hook of one plugin.

        Raises:
            HookFailed: It raised.
            WrongResult: It returned what it may not.
            ConfigRefused: As it was raised, which only check_config should do.
        """
        started = time.perf_counter()
        try:
            with _border(record, hook):
                implementations = self._implementations.get((record, hook), ())
                return flatten(hook, [_called(implementation, arguments) for implementation in implementations])
        finally:
            record.timings[hook] = record.timings.get(hook, 0.0) + time.perf_counter() - started

    def tell(self, record: PluginRecord, hook: str, **arguments: object) -> Awaitable[None] | None:
        """Call a hook of one plugin, and have what it returned awaited, if that can be. Raises what `ask` raises.

        Returns:
            What is to be awaited, and raises the same; None when the hook has done all it does.
        """
        returned = [result for result in self.ask(record, hook, **arguments) if isinstance(result, Awaitable)]
        return _awaited(record, hook, returned) if returned else None

    @property
    def degraded(self) -> tuple[PluginRecord, ...]:
        """Optional plugins that are broken and were skipped."""
        return tuple(record for record in self.records if record.state == "broken" and not record.required)

    # --- finding

    def _read_project(self) -> Project:
        try:
            return Project.read(self._folder)
        except UsageError as problem:
            self._problems.append(problem)
            return Project(folder=self._folder)

    def _find_app(self, project: Project) -> None:
        if self._asked is None and not self._discover:
            return
        try:
            self.app = find_app(self._asked, project, path=self._path)
        except UsageError as problem:
            self._problems.append(problem)
        else:
            self.app_record = PluginRecord(origin=self.app.origin)

    def _available(self, optional: frozenset[str]) -> dict[str, PluginRecord]:
        found = entry_points.find(entry_points.PLUGINS, self._path) if self._discover else []
        available = {}
        for name, same_name in groupby(found, key=lambda entry: entry.name):
            entries = tuple(same_name)
            origin = Origin(name, entries[0].dist.name, entries[0].dist.version)
            available[name] = PluginRecord(origin=origin, entries=entries, required=name not in optional)
        for name, module in self._objects.items():
            available[name] = PluginRecord(origin=Origin(name), module=module, required=name not in optional)
        return available

    def _select(self, selection: Selection) -> None:
        available = self._available(selection.optional)
        installed = tuple(available)
        named = available if selection.names is None else (*selection.names, *self._objects)
        chosen = [name for name in dict.fromkeys(named) if name not in selection.exclude]
        for name in chosen:
            if name not in available:
                available[name] = self._unknown(name, selection, installed)
        for name in sorted(selection.exclude - available.keys()):
            self._unknown(name, Selection(source="-x"), installed)
        others = [name for name in available if name not in chosen]
        for name in others:
            available[name].state = "not selected"
        self.records = tuple(available[name] for name in (*chosen, *others))

    def _unknown(self, name: str, selection: Selection, installed: tuple[str, ...]) -> PluginRecord:
        from eggycore.plugin_errors import UnknownPlugin

        record = PluginRecord(origin=Origin(name), required=name not in selection.optional)
        self._break(record, [UnknownPlugin(name, selection.source, installed)])
        return record

    # --- loading

    def _active(self) -> Iterator[PluginRecord]:
        """In calling order; a record that breaks meanwhile is left out."""
        app = (self.app_record,) if self.app_record else ()
        return (record for record in (*self.records, *app) if record.state == "active")

    def _load(self, record: PluginRecord) -> None:
        if problems := list(self._problems_before_import(record)):
            self._break(record, problems)
            return
        started = time.perf_counter()
        try:
            record.module = self._import(record)
            record.timings["import"] = time.perf_counter() - started
            problems = list(self._checks.problems(record.module, record.origin))
            if not problems:
                self._register(record, record.module)
                problems = list(_nothing_in(record))
        except AppNotFound as problem:
            problems = [problem]
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- the border: a plugin may raise anything on import
            from eggycore.plugin_errors import PluginImportFailed

            problems = [PluginImportFailed(record.origin, error)]
            problems[0].__cause__ = error
        if problems:
            self._break(record, problems)

    def _problems_before_import(self, record: PluginRecord) -> Iterator[UsageError]:
        if len(record.entries) > 1:
            from eggycore.plugin_errors import DuplicatePlugin

            yield DuplicatePlugin(record.origin, tuple(str(entry.dist) for entry in record.entries))
        elif record.entries and (requirement := refused_by(record.entries[0].dist.requires, eggycore.__version__)):
            from eggycore.plugin_errors import IncompatiblePlugin

            yield IncompatiblePlugin(record.origin, requirement, eggycore.__version__)

    def _import(self, record: PluginRecord) -> object:
        if record.entries:
            return entry_points.load(record.entries[0].value)
        if record is self.app_record and self.app is not None:
            return self.app.load()
        return record.module

    def _register(self, record: PluginRecord, module: object) -> None:
        self._manager.register(module, f"{record.origin.kind}:{record.name}")
        for caller in self._manager.get_hookcallers(module) or ():
            mine = [implementation for implementation in caller.get_hookimpls() if implementation.plugin is module]
            self._implementations[record, caller.name] = mine
        record.hooks = tuple(hook for hook in self._checks.hooks if (record, hook) in self._implementations)

    # --- calling and reporting

    def _call(self, hook: str, arguments: Mapping[str, object]) -> list[tuple[PluginRecord, list[Any]]]:
        results = []
        for record in self.implementing(hook):
            try:
                results.append((record, self.ask(record, hook, **arguments)))
            except UsageError as problem:
                self._break(record, [problem])
        return results

    def _break(self, record: PluginRecord, problems: Sequence[UsageError]) -> None:
        diagnoses = [diagnose(problem) for problem in problems]
        record.state = "broken"
        record.reason = " ".join(f"{diagnosis.description} {diagnosis.cause}".strip() for diagnosis in diagnoses)
        if record.required:
            self._problems += problems

    def _raise_problems(self) -> None:
        if self._problems:
            from eggycore.plugin_errors import PluginErrors

            problems, self._problems = tuple(self._problems), []
            raise PluginErrors(problems)


def _called(implementation: HookImpl, arguments: Mapping[str, object]) -> object:
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _arguments_of_hooks(manager: PluginManager) -> dict[str, tuple[str, ...]]:
    callers = ((name, getattr(manager.hook, name).spec) for name in vars(manager.hook))
    return {name: tuple(spec.argnames) for name, spec in callers if spec is not None}


async def _awaited(record: PluginRecord, hook: str, returned: Sequence[Awaitable[None]]) -> None:
    for result in returned:
        with _border(record, hook), contained():  # it may await something that somebody else has cancelled
            await result


@contextmanager
def _border(record: PluginRecord, hook: str) -> Iterator[None]:
    """Blames what happens inside on the plugin."""
    try:
        yield
    except ConfigRefused:
        raise
    except UnexpectedResult as error:
        from eggycore.plugin_errors import WrongResult

        raise WrongResult(record.origin, hook, str(error), expectation(hook)) from None
    except (Exception, SystemExit) as error:
        from eggycore.plugin_errors import HookFailed

        raise HookFailed(record.origin, hook, error) from error


def _nothing_in(record: PluginRecord) -> Iterator[UsageError]:
    if not record.hooks and isinstance(record.module, ModuleType):
        from eggycore.plugin_errors import NoHooks

        yield NoHooks(record.origin)
