"""What is checked between variables, once each of them is right by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from eggycore.config.configuration import Value
from eggycore.config.declared import Owned, blamed
from eggycore.config.family import general_settings
from eggycore.config.members import in_member
from eggycore.config.settings import Settings
from eggycore.errors import ConfigProblem

__all__ = ["port_conflicts", "settings_problems"]


def port_conflicts(owned: Iterable[Owned], values: Mapping[str, Value]) -> Iterator[ConfigProblem]:
    """A problem for each port that is listened on twice; management ports may share one, and 0 is nobody's."""
    listening: dict[object, list[Owned]] = {}
    for one in owned:
        if _is_listening(one, values):
            listening.setdefault(values[one.variable.key].value, []).append(one)
    for first, *others in listening.values():
        for other in others:
            if "business" in (first.variable.listens, other.variable.listens):
                yield _port_conflict(first, other, values)


def _port_conflict(first: Owned, other: Owned, values: Mapping[str, Value]) -> ConfigProblem:
    if _origin(values[first.variable.key]) and not _origin(values[other.variable.key]):
        first, other = other, first  # what a person set is to blame, not a default
    key, taken = other.variable.key, first.variable.key
    return ConfigProblem(
        key=key,
        value=str(values[key].value),
        reason=f"the same port as {taken}",
        origin=_origin(values[key]),
        owner=other.owner,
        action=f"Set {key} or {taken} to another port, or to 0 for any free one.",
    )


def _origin(value: Value | None) -> str:
    """Where a person set the value; "" when nobody did."""
    return "" if value is None or value.origin == "default" else value.origin


def _is_listening(one: Owned, values: Mapping[str, Value]) -> bool:
    variable = one.variable
    if variable.listens is None or variable.key not in values or values[variable.key].value in (0, None):
        return False
    return variable.when is None or (variable.when in values and values[variable.when].value is True)


def settings_problems(
    instances: Mapping[type[Settings], Settings], owned: Mapping[str, Owned], values: Mapping[str, Value]
) -> Iterator[ConfigProblem]:
    """What the settings say of themselves, with origin and owner filled in and the values of secrets left out.

    Raises:
        DeclarationFailed: A `problems` method raised.
    """
    owners = {one.settings: one.owner for one in owned.values()}
    said: dict[type[Settings], list[ConfigProblem]] = {}
    for settings, instance in instances.items():
        with blamed(owners[settings], f"{settings.__qualname__}.problems()"):
            said[settings] = [_is_problem(problem) for problem in instance.problems()]
        of_all = said.get(general_settings(settings), ()) if settings.member else ()
        for problem in said[settings]:
            own = in_member(problem, settings) if settings.member else problem
            if problem not in of_all or not _is_inherited(owned.get(own.key), values):  # else it has been told
                yield _completed(own, owned.get(own.key), values.get(own.key), owners[settings])


def _is_problem(said: object) -> ConfigProblem:
    if not isinstance(said, ConfigProblem):
        raise TypeError(f"problems() yields ConfigProblem, not {type(said).__name__}")
    return said


def _is_inherited(one: Owned | None, values: Mapping[str, Value]) -> bool:
    """Whether a member's variable has the value of the class's."""
    return one is not None and one.general in values and values[one.variable.key].found == values[one.general].found


def _completed(problem: ConfigProblem, about: Owned | None, value: Value | None, owner: str) -> ConfigProblem:
    secret = (about is not None and about.variable.kind.secret) or (value is not None and value.hidden)
    return replace(
        problem,
        value=None if secret else problem.value,
        origin=problem.origin or _origin(value),
        owner=problem.owner or owner,
    )
