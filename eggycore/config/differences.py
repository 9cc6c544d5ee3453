"""What differs between two environments of one app: values, and the layers that they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from eggycore.config.configuration import Configuration, Value
from eggycore.config.declared import FILE_SUFFIX, Owned
from eggycore.config.loading import NOT_SET
from eggycore.errors import ConfigProblem

__all__ = ["Difference", "Examined", "Side", "differences", "file_stem"]

_LINE = re.compile(r" line \d+$")
_FILE = re.compile(r"([^/\\]+)\.(?:json|toml|ya?ml) line \d+$")


@dataclass(frozen=True)
class Examined:
    """A configuration as it would be in one environment, which may lack values, and what is wrong with it."""

    environment: str
    configuration: Configuration
    problems: tuple[ConfigProblem, ...] = ()

    @property
    def other_problems(self) -> tuple[ConfigProblem, ...]:
        """What is wrong beside variables that have no value, which the differences show."""
        known, values = self.configuration.owned, self.configuration.values
        without = {name for key, one in known.items() if key not in values for name in _names(one)}
        return tuple(problem for problem in self.problems if problem.key not in without)


@dataclass(frozen=True, kw_only=True)
class Side:
    """A variable in one of the two environments.

    Args:
        state: "set": it has a value, perhaps its default; "missing": it must be set and is not; "wrong": what it is
            set to cannot be used; "absent": nobody has it there, as the variables of a member that no list names.
        shown: The value, masked when it is a secret; why it has none when it is wrong; else "".
        origin: Where it is set: "config/production.toml line 7"; "" when it has no value.
    """

    state: Literal["set", "missing", "wrong", "absent"]
    shown: str = ""
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A variable whose value differs, or comes from another layer.

    Args:
        key: Its name.
        owner: Who declared it.
        secret: Whether its value is masked.
        same_value: Whether only the layer differs.
        one: In the first environment.
        other: In the second.
    """

    key: str
    owner: str
    secret: bool
    same_value: bool
    one: Side
    other: Side


def differences(one: Examined, other: Examined) -> tuple[Difference, ...]:
    """The variables that differ, in the order of declaration; ENVIRONMENT itself is not among them."""
    return tuple(_differing(one, other))


def file_stem(origin: str) -> str | None:
    """The name, without its extension, of the file of configuration that an origin names; None when it names none."""
    file = _FILE.search(origin)
    return file[1] if file is not None else None


def _differing(one: Examined, other: Examined) -> Iterator[Difference]:
    all_owned = {**one.configuration.owned, **other.configuration.owned}
    for key, owned in all_owned.items():
        values = [side.configuration.values.get(key) for side in (one, other)]
        sides = [_side(owned, value, examined) for value, examined in zip(values, (one, other), strict=True)]
        same_value = sides[0].state == sides[1].state and _revealed(values[0]) == _revealed(values[1])
        layers = [_layer(key, value, examined) for value, examined in zip(values, (one, other), strict=True)]
        is_same = same_value and layers[0] == layers[1]
        if not is_same and key != "ENVIRONMENT" and not _is_only_there(sides, values, owned):
            yield Difference(
                key=key,
                owner=owned.owner,
                secret=owned.variable.kind.secret,
                same_value=same_value,
                one=sides[0],
                other=sides[1],
            )


def _is_only_there(sides: Sequence[Side], values: Sequence[Value | None], owned: Owned) -> bool:
    """Whether all that differs is that there is such a member in one of the two, which nobody has set this for."""
    if "absent" not in (sides[0].state, sides[1].state):
        return False
    return not any(found.name in owned.variable.names for value in values if value is not None for found in value.found)


def _side(owned: Owned, value: Value | None, examined: Examined) -> Side:
    variable = owned.variable
    if value is not None:
        return Side(state="set", shown=variable.shown(value.value), origin=value.origin)
    if variable.key not in examined.configuration.owned:
        return Side(state="absent")
    problem = _problem_of(owned, examined.problems)
    if problem is None or problem.reason == NOT_SET:
        return Side(state="missing")
    return Side(state="wrong", shown=problem.reason, origin=problem.origin)


def _problem_of(owned: Owned, problems: Sequence[ConfigProblem]) -> ConfigProblem | None:
    names = _names(owned)
    return next((problem for problem in problems if problem.key in names), None)


def _names(owned: Owned) -> list[str]:
    return [name + suffix for name in owned.variable.names for suffix in ("", FILE_SUFFIX)]


def _revealed(value: Value | None) -> object:
    return None if value is None else value.value


def _layer(key: str, value: Value | None, examined: Examined) -> str:
    """What the value comes from, without the line, and with one name for the files of either environment."""
    if value is None:
        return ""
    found = next((found for found in value.found if found.origin_of(key) == value.origin), None)
    origin = found.origin if found is not None else value.origin
    stem = file_stem(origin)
    if stem is None:
        return _LINE.sub("", origin)
    return "the environment's files" if stem == examined.environment else stem
