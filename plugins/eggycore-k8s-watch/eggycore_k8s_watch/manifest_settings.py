"""The configuration as a pod would read it, worked out on a machine that has neither its secrets nor its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from eggycore.config import Declared, Settings, Sources, load
from eggycore.config.configuration import Configuration, Value
from eggycore.config.declared import FILE_SUFFIX, Owned
from eggycore.config.family import Family
from eggycore.config.units import format_duration, format_size
from eggycore.config.variable import Variable
from eggycore.errors import ConfigError, ConfigProblem

__all__ = ["PodSettings", "read_in_pod", "stand_ins"]

_ROUNDS = 5
"""A value that stands in for a missing one may bring a member of a family with it, which misses others."""


@dataclass(frozen=True)
class PodSettings:
    """Every variable with the value that it has in a pod.

    Args:
        owned: The variables, by name.
        values: Their values; those of `lacking` and of `problems` only stand in for others.
        lacking: What a process in the pod would refuse about secrets: those that must be set and are not known here.
        problems: What a process in the pod would refuse; secrets that are not known here are none of it.
    """

    owned: Mapping[str, Owned]
    values: Mapping[str, Value]
    lacking: Mapping[str, ConfigProblem]
    problems: tuple[ConfigProblem, ...]

    def value(self, key: str) -> object:
        """The value of a variable; None when no plugin declares it."""
        return self.values[key].value if key in self.values else None

    def number(self, key: str) -> float:
        """The value of a variable that is a number, a duration or a size; 0 when no plugin declares it."""
        value = self.value(key)
        return value if isinstance(value, int | float) else 0

    def origin(self, key: str) -> str:
        """Where the value was set; "default" when nowhere."""
        return self.values[key].origin if key in self.values else "default"

    def by_name(self, name: str) -> Owned | None:
        """The variable that may be set under this name, or by the file that it names; None when there is none."""
        for one in self.owned.values():
            if name in one.variable.names or name.removesuffix(FILE_SUFFIX) in one.variable.names:
                return one
        return None


def read_in_pod(declared: Sequence[Declared], sources: Sources) -> PodSettings:
    """Read the configuration from these sources, with something in the place of what only a pod has.

    Args:
        declared: The settings of the core, the plugins and the app.
        sources: Where values come from; their environment is that of the pod, as far as it is known.

    Raises:
        ConfigError: What is wrong lies in the files of the app or in its declarations.
    """
    try:
        return _settings(load(declared, sources))
    except ConfigError as error:
        return _read_quietly(declared, sources, error)


def _read_quietly(declared: Sequence[Declared], sources: Sources, error: ConfigError) -> PodSettings:
    """Read once more, without what settings say across their fields, and with values for what is wrong or missing."""
    quiet = [Declared(_silenced(one.settings), one.origin) for one in declared]
    values: dict[str, str] = {}
    single: list[ConfigProblem] = []
    for _ in range(_ROUNDS):
        try:
            configuration = load(quiet, replace(sources, overrides=_over(sources.overrides, values)))
        except ConfigError as another:
            more = stand_ins(declared, another.problems)
            if not more:
                raise ConfigError(_without_secrets(declared, error.problems), error.warnings) from None
            values |= more
            single += another.problems
        else:
            return _sorted_out(_settings(configuration), single, error.problems)
    raise error


def _sorted_out(
    settings: PodSettings, single: Sequence[ConfigProblem], problems: Sequence[ConfigProblem]
) -> PodSettings:
    """The settings with their problems.

    Args:
        settings: The values, some of which only stand in.
        single: What is wrong with single variables.
        problems: What is wrong with these and between them.
    """
    lacking: dict[str, ConfigProblem] = {}
    real: list[ConfigProblem] = []
    for problem in dict.fromkeys((*problems, *single)):
        one = settings.by_name(problem.key)
        if one is not None and one.variable.kind.secret:
            lacking.setdefault(one.variable.key, problem)
        elif one is None or not _is_elsewhere(problem, one.variable):
            real.append(problem)
    # What is wrong between a secret that is not known here and others cannot be said here.
    unsure = {settings.owned[key].owner for key in lacking}
    alone = {problem.key for problem in single}
    told = tuple(problem for problem in real if problem.key in alone or problem.owner not in unsure)
    return replace(settings, lacking=lacking, problems=told)


def _without_secrets(declared: Iterable[Declared], problems: Iterable[ConfigProblem]) -> tuple[ConfigProblem, ...]:
    variables = _Variables(declared)
    found = ((problem, variables.find(problem.key)) for problem in problems)
    return tuple(problem for problem, variable in found if variable is None or not variable.kind.secret)


def _settings(configuration: Configuration) -> PodSettings:
    return PodSettings(configuration.owned, configuration.values, lacking={}, problems=())


def _is_elsewhere(problem: ConfigProblem, variable: Variable) -> bool:
    """Whether the problem is that a file which the pod has is not on this machine."""
    if problem.key.endswith(FILE_SUFFIX) and problem.key not in variable.names:
        return True
    return variable.kind.base == "path" and problem.value is not None


def stand_ins(declared: Iterable[Declared], problems: Iterable[ConfigProblem]) -> dict[str, str]:
    """A text for each variable that has one of the problems; none at all when a problem is about something else."""
    variables = _Variables(declared)
    found = [variables.find(problem.key) for problem in problems]
    return {} if None in found else {one.key: _stand_in(one) for one in found if one is not None}


def _over(overrides: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The overrides with these values in place of whatever they say about the same variables."""
    files = {key + FILE_SUFFIX for key in values}
    return {**{key: text for key, text in overrides.items() if key not in files}, **values}


class _Variables:
    """The declared variables, by every name under which one may be set, those of members of families too."""

    def __init__(self, declared: Iterable[Declared]) -> None:
        self._names: dict[str, Variable] = {}
        self._families: list[tuple[Family, Variable]] = []
        for one in declared:
            for variable in one.settings.__variables__:
                self._names.update(dict.fromkeys(variable.names, variable))
                if one.settings.__family__ is not None:
                    self._families.append((one.settings.__family__, variable))

    def find(self, name: str) -> Variable | None:
        found = self._names.get(name) or self._names.get(name.removesuffix(FILE_SUFFIX))
        if found is not None:
            return found
        for family, variable in self._families:
            rest = variable.key.removeprefix(family.prefix)
            if name.startswith(family.prefix) and name.removesuffix(FILE_SUFFIX).endswith(f"_{rest}"):
                return replace(variable, key=name.removesuffix(FILE_SUFFIX))
        return None


def _silenced(settings: type[Settings]) -> type[Settings]:
    """The class, of which nothing is wrong across fields: with values that stand in, that would be noise."""
    scope = {
        "__module__": settings.__module__,
        "__qualname__": settings.__qualname__,
        "problems": lambda self: (),  # what it says was heard when the configuration was read in full
    }
    return type(settings.__name__, (settings,), scope)


def _stand_in(variable: Variable) -> str:
    """A text that the variable takes: its least value, its first choice."""
    least = variable.ge or 0
    match variable.kind.base:
        case "integer":
            return str(int(least))
        case "number":
            return str(least)
        case "boolean":
            return "false"
        case "duration":
            return format_duration(max(least, 1.0) if variable.le is None else least)
        case "size":
            return format_size(int(least))
        case "choice":
            return variable.kind.choices[0]
        case "words":
            return ""
        case _:
            return "unknown"
