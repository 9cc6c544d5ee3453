"""What can be wrong with plugins and the app: one error per kind, with its diagnosis."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from eggycore.diagnostics import Diagnosis, capitalized, diagnose, did_you_mean, nearest, raised_at, summary
from eggycore.errors import EggycoreError, UsageError
from eggycore.types import Origin

__all__ = [
    "AsyncHook",
    "DuplicatePlugin",
    "HookFailed",
    "IncompatiblePlugin",
    "NoHooks",
    "OptionsOnHook",
    "PluginErrors",
    "PluginImportFailed",
    "PluginProblem",
    "SharedHook",
    "UnknownHooks",
    "UnknownPlugin",
    "UnmarkedHook",
    "WrongHookArguments",
    "WrongResult",
]


@dataclass(eq=False)
class PluginProblem(UsageError):
    """The root of everything that is wrong with one plugin (or the app)."""

    origin: Origin

    @property
    def plugin(self) -> str:
        """The plugin's name."""
        return self.origin.name

    @property
    def dist(self) -> str:
        """The plugin's distribution, "" when it has none."""
        return self.origin.dist

    @property
    def version(self) -> str:
        """The distribution's version, "" when unknown."""
        return self.origin.version

    @property
    def who(self) -> str:
        """The beginning of a sentence: "Plugin db (eggycore-db 0.1.0)"."""
        return capitalized(str(self.origin))

    @property
    def repair(self) -> str:
        """The beginning of a sentence: what to repair; an app is in the reader's own hands."""
        return f"Repair or upgrade {self.dist}" if self.dist and self.origin.kind == "plugin" else "Correct it"

    @property
    def way_out(self) -> str:
        """The end of a sentence: how to go on without the plugin; an app cannot be left out.

        A command or an option that ends a message has no full stop, so that it can be copied.
        """
        return f", or start without it: -x {self.plugin}" if self.origin.kind == "plugin" else "."

    def try_command(self, what: str, command: str) -> str:
        """A sentence that ends in a command: what it does, after the way out when there is one."""
        if self.origin.kind == "plugin":
            return f"Start without it (-x {self.plugin}), or {what}: {command}"
        return f"{capitalized(what)}: {command}"


@dataclass(eq=False)
class PluginImportFailed(PluginProblem):
    """The plugin's module raised, or is not there. The exception is the `__cause__` as well."""

    cause: BaseException


@diagnose.register
def _(error: PluginImportFailed) -> Diagnosis:
    return Diagnosis(
        description=f"{error.who} cannot be imported.",
        cause=_with_place(error.cause),
        action=_missing_module(error) or f"{error.repair}{error.way_out}",
    )


def _missing_module(error: PluginImportFailed) -> str:
    """What to do about a module that the app imports and that is not there."""
    if error.origin.kind != "app" or not isinstance(error.cause, ModuleNotFoundError) or not error.cause.name:
        return ""
    return f"Install what has the module {error.cause.name!r}, or correct the import."


@dataclass(eq=False)
class NoHooks(PluginProblem):
    """The module implements no hook at all: most likely another module was meant."""


@diagnose.register
def _(error: NoHooks) -> Diagnosis:
    return Diagnosis(
        description=f"{error.who} implements no hook.",
        cause="No function in the module is marked with @hookimpl (from eggycore import hookimpl).",
        action=f"Mark its hooks, or name the module that holds them{error.way_out}",
    )


@dataclass(eq=False)
class IncompatiblePlugin(PluginProblem):
    """The plugin's distribution requires another eggycore.

    Args:
        requirement: The text of its Requires-Dist line.
        have: The version of eggycore that is running.
    """

    requirement: str
    have: str


@diagnose.register
def _(error: IncompatiblePlugin) -> Diagnosis:
    return Diagnosis(
        description=f"{error.who} does not work with this eggycore.",
        cause=f"It requires {error.requirement}, and eggycore {error.have} is running.",
        action=error.try_command("install versions that fit", f"pip install --upgrade eggycore {error.dist}"),
    )


@dataclass(eq=False)
class DuplicatePlugin(PluginProblem):
    """Several distributions advertise a plugin of this name. `dists` are their names with versions."""

    dists: tuple[str, ...]


@diagnose.register
def _(error: DuplicatePlugin) -> Diagnosis:
    return Diagnosis(
        description=f"Plugin {error.plugin} is advertised by {len(error.dists)} distributions: {_listed(error.dists)}.",
        cause="Nothing says which of them is meant, so none was loaded.",
        action=error.try_command("uninstall all but one, for example", f"pip uninstall {error.dists[-1].split()[0]}"),
    )


@dataclass(eq=False)
class UnknownHooks(PluginProblem):
    """The plugin implements hooks that do not exist. `names` are all of them, `known` the hooks there are."""

    names: tuple[str, ...]
    known: tuple[str, ...]


@diagnose.register
def _(error: UnknownHooks) -> Diagnosis:
    counted = "an unknown hook" if len(error.names) == 1 else f"{len(error.names)} unknown hooks"
    names = ", ".join(_with_guess(name, error.known) for name in error.names)
    return Diagnosis(
        description=f"{error.who} implements {counted}: {names}.",
        cause=f"The hooks are {', '.join(error.known)}.",
        action=f"Correct the names, or upgrade eggycore if it is too old for them{error.way_out}",
    )


@dataclass(eq=False)
class WrongHookArguments(PluginProblem):
    """A hook is implemented with arguments that it does not have.

    Args:
        hook: The hook's name.
        wrong: The arguments it does not have.
        signature: The arguments it has.
    """

    hook: str
    wrong: tuple[str, ...]
    signature: tuple[str, ...]


@diagnose.register
def _(error: WrongHookArguments) -> Diagnosis:
    plural = "s" if len(error.wrong) > 1 else ""
    return Diagnosis(
        description=f"{error.who} implements {error.hook} with the wrong argument{plural} {_listed(error.wrong)}.",
        cause=f"The hook is {error.hook}({', '.join(error.signature)}).",
        action=f"Rename the argument{plural} or leave {'them' if plural else 'it'} out{error.way_out}",
    )


@dataclass(eq=False)
class AsyncHook(PluginProblem):
    """A hook other than config_changed is implemented by an async function."""

    hook: str


@diagnose.register
def _(error: AsyncHook) -> Diagnosis:
    return Diagnosis(
        description=f"{error.who} implements {error.hook} as an async function.",
        cause="Hooks declare and the runtime awaits; config_changed is the only hook that may be async.",
        action=f"Make it a plain function and await in Initializer.open or Service.run{error.way_out}",
    )


@dataclass(eq=False)
class OptionsOnHook(PluginProblem):
    """A hook is implemented with options of pluggy that would change the order of calls."""

    hook: str
    options: tuple[str, ...]


@diagnose.register
def _(error: OptionsOnHook) -> Diagnosis:
    return Diagnosis(
        description=f"{error.who} implements {error.hook} with {_listed(error.options)}.",
        cause="Hooks are called plugin by plugin in the given order, so that an error is blamed on the right one.",
        action=f"Use a bare @hookimpl, and `requires` where order matters{error.way_out}",
    )


@dataclass(eq=False)
class SharedHook(PluginProblem):
    """A function implements a hook for two plugins, so it would be called twice. `first` registered it before."""

    hook: str
    first: Origin


@diagnose.register
def _(error: SharedHook) -> Diagnosis:
    return Diagnosis(
        description=f"{error.who} implements {error.hook} with a function that {error.first} registered before.",
        cause="It would be called twice.",
        action=f"Import modules, not functions marked with @hookimpl{error.way_out}",
    )


@dataclass(eq=False)
class UnmarkedHook(PluginProblem):
    """A function is named like a hook and lacks the mark."""

    hook: str


@diagnose.register
def _(error: UnmarkedHook) -> Diagnosis:
    return Diagnosis(
        description=f"{error.who} has a function {error.hook} without @hookimpl.",
        cause="It is named like a hook and would never be called.",
        action=f"Write @hookimpl above it, or give it another name{error.way_out}",
    )


@dataclass(eq=False)
class HookFailed(PluginProblem):
    """A hook raised. The exception is the `__cause__` as well."""

    hook: str
    cause: BaseException


@diagnose.register
def _(error: HookFailed) -> Diagnosis:
    action = diagnose(error.cause).action if isinstance(error.cause, EggycoreError) else ""
    return Diagnosis(
        description=f"{error.who} failed in {error.hook}.",
        cause=_with_place(error.cause),
        action=action or f"{error.repair}{error.way_out}",
    )


@dataclass(eq=False)
class WrongResult(PluginProblem):
    """A hook returned what it must not. `got` names the type, `expected` says in words what it may return."""

    hook: str
    got: str
    expected: str


@diagnose.register
def _(error: WrongResult) -> Diagnosis:
    return Diagnosis(
        description=f"{error.who} returned a value of type {error.got} from {error.hook}.",
        cause=f"{error.hook} may return {error.expected}.",
        action=f"{error.repair}{error.way_out}",
    )


@dataclass(eq=False)
class UnknownPlugin(UsageError):
    """A plugin was named that is not installed.

    Args:
        name: The name as it was given.
        source: Where it was given: "--plugins", "EGGYCORE_PLUGINS", "-x", ...
        installed: The names that could have been given.
    """

    name: str
    source: str
    installed: tuple[str, ...]


@diagnose.register
def _(error: UnknownPlugin) -> Diagnosis:
    have = f"Installed: {', '.join(error.installed)}." if error.installed else "No plugin is installed."
    could_be_a_dist = re.fullmatch(r"[a-z0-9][a-z0-9._-]*", error.name, re.IGNORECASE)
    wanted = error.source != "-x" and could_be_a_dist
    install = f", or install it: pip install eggycore-{error.name}" if wanted else "."
    return Diagnosis(
        description=f"Plugin {error.name!r} is not installed.{did_you_mean(error.name, error.installed)}",
        cause=f"{error.source} names it. {have}",
        action=f"Correct the name{install}",
    )


@dataclass(eq=False)
class PluginErrors(UsageError):
    """Everything that is wrong with the selected plugins and the app, found in one run."""

    problems: tuple[EggycoreError, ...] = field(default=())


@diagnose.register
def _(error: PluginErrors) -> Diagnosis:
    parts = tuple(map(diagnose, error.problems))
    if len(parts) == 1:
        return parts[0]
    return Diagnosis(description=f"There are {len(parts)} problems with the plugins and the app.", parts=parts)


def _with_place(error: BaseException) -> str:
    place = raised_at(error)
    text = summary(error).rstrip(".")
    return f"{text} ({place})." if place else f"{text}."


def _with_guess(name: str, known: tuple[str, ...]) -> str:
    near = nearest(name, known)
    return f"{name} (did you mean {near!r}?)" if near else name


def _listed(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
