"""Who declared which variable, and the variables that cannot be kept apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from eggycore.config.settings import Settings
from eggycore.config.variable import Variable
from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import ConfigProblem, UsageError
from eggycore.types import Origin

__all__ = ["FILE_SUFFIX", "DeclarationFailed", "Declared", "Owned", "blamed", "is_secret", "names_of", "own"]

FILE_SUFFIX = "_FILE"
"""KEY_FILE holds the path of a file that holds the value of KEY."""


@dataclass(frozen=True)
class Declared:
    """A `Settings` class and who declared it."""

    settings: type[Settings]
    origin: Origin


@dataclass(frozen=True)
class Owned:
    """A variable, the class it is a field of, and who declared it.

    `general` is, for a member's variable, the class's variable whose value it has when it is not set; else "".
    """

    variable: Variable
    settings: type[Settings]
    owner: str
    general: str = ""


@dataclass(eq=False)
class DeclarationFailed(UsageError):
    """Code that belongs to a declaration of settings raised; the exception is its cause."""

    owner: str
    step: str
    error: str


@diagnose.register
def _(error: DeclarationFailed) -> Diagnosis:
    return Diagnosis(
        description=f"The configuration could not be read: {error.step} raised {error.error}.",
        cause=f"It belongs to {error.owner}.",
        action="Run again with -v for the traceback, and report it to its authors.",
    )


@contextmanager
def blamed(owner: str, step: str) -> Iterator[None]:
    """A border around code of a plugin: what it raises becomes a `DeclarationFailed` with its name."""
    try:
        yield
    except Exception as error:
        # Only the type: the text of a foreign exception may hold a value.
        raise DeclarationFailed(owner, step, type(error).__name__) from error


def own(declared: Sequence[Declared]) -> tuple[dict[str, Owned], list[ConfigProblem]]:
    """The variables by name, each with its first owner, and a problem for each that has a second."""
    owned: dict[str, Owned] = {}
    problems: list[ConfigProblem] = []
    for one in declared:
        for variable in one.settings.__variables__:
            first = owned.setdefault(variable.key, Owned(variable, one.settings, str(one.origin)))
            if first.settings is not one.settings or first.owner != str(one.origin):
                problems.append(_second_owner(variable.key, first.owner, str(one.origin)))
    problems.extend(_shared_names(owned))
    problems.extend(_file_forms(owned))
    problems.extend(_unknown_switches(owned.values(), owned))
    return owned, problems


def _second_owner(key: str, first: str, second: str) -> ConfigProblem:
    return ConfigProblem(
        key=key,
        reason=f"declared twice, by {first} and by {second}",
        action="Leave one of the two out, or have one of them rename its variable.",
    )


def names_of(owned: Mapping[str, Owned]) -> dict[str, str]:
    """Every name that a source may set, with what it is, in words: "a variable of eggycore"."""
    names: dict[str, str] = {}
    for key, one in owned.items():
        for name in one.variable.names:
            what = "a variable" if name == key else f"another name of {key}"
            names.setdefault(name, f"{what} of {one.owner}")
            names.setdefault(name + FILE_SUFFIX, f"the file that holds {name} of {one.owner}")
    return names


def is_secret(owned: Mapping[str, Owned], name: str) -> bool:
    """Whether this is a name of a secret, or would be that of one of a family's member."""
    return any(
        name in one.variable.names or _is_of_member(one, name) for one in owned.values() if one.variable.kind.secret
    )


def _is_of_member(one: Owned, name: str) -> bool:
    family = one.settings.__family__
    if family is None:
        return False
    return name.startswith(family.prefix) and name.endswith(f"_{one.variable.key.removeprefix(family.prefix)}")


def _shared_names(owned: Mapping[str, Owned]) -> Iterable[ConfigProblem]:
    """A problem for each other name that is also a variable, or another name, of somebody else."""
    first = {key: f"by {one.owner}" for key, one in owned.items()}
    for key, one in owned.items():
        for other in one.variable.also:
            mine = f"by {one.owner} as another name of {key}"
            if first.setdefault(other.key, mine) != mine:
                yield ConfigProblem(
                    key=other.key,
                    reason=f"declared twice, {first[other.key]} and {mine}",
                    action="Leave one of the two out, or have one of them rename its variable.",
                )


def _file_forms(owned: Mapping[str, Owned]) -> Iterable[ConfigProblem]:
    owners = {name: one for one in owned.values() for name in one.variable.names}
    for name, one in owners.items():
        other = owners.get(name + FILE_SUFFIX)
        if other is not None:
            own = name + FILE_SUFFIX == other.variable.key
            meaning = "a variable of its own" if own else f"another name of {other.variable.key}"
            yield ConfigProblem(
                key=name + FILE_SUFFIX,
                reason=f"two meanings: {meaning}, and the file that holds {name} of {one.owner}",
                owner=other.owner,
                action="Have one of the two renamed.",
            )


def _unknown_switches(all_owned: Iterable[Owned], owned: Mapping[str, Owned]) -> Iterable[ConfigProblem]:
    for one in all_owned:
        switch = one.variable.when
        if switch is not None and (switch not in owned or owned[switch].variable.kind.base != "boolean"):
            yield ConfigProblem(
                key=one.variable.key,
                reason=f"declared with when={switch!r}, which is no boolean variable",
                owner=one.owner,
                action="Correct the declaration.",
            )
