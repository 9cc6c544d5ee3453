"""The members of families: which there are in one reading, and what of their variables cannot be kept apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from eggycore.config.configuration import Value
from eggycore.config.declared import FILE_SUFFIX, Owned, names_of
from eggycore.config.family import Family, general_settings, is_member_name, member_settings
from eggycore.config.near import StrangeMember
from eggycore.config.settings import Settings
from eggycore.config.variable import Variable
from eggycore.errors import ConfigProblem

__all__ = ["Members", "family_problems", "in_member", "members_of", "strange_members"]


@dataclass(frozen=True)
class Members:
    """The variables of all members, by name, and what is wrong with the members' names."""

    owned: dict[str, Owned] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)


def family_problems(owned: Mapping[str, Owned]) -> Iterator[ConfigProblem]:
    """A problem for each variable that is to name members and cannot; one that nobody declares names none."""
    for settings, family, owner in _families(owned):
        if family.names not in owned:
            continue
        variable = owned[family.names].variable
        if variable.kind.base != "words" or variable.kind.secret:
            wrong = "is no list of words"
        elif variable.reload:
            wrong = "changes in a reload"
        else:
            continue
        yield ConfigProblem(
            key=variable.key,
            reason=f"named as the family of {settings.__qualname__}, but it {wrong}",
            owner=owner,
            action="Correct the declaration.",
        )


def members_of(owned: Mapping[str, Owned], values: Mapping[str, Value]) -> Members:
    """The members of every family.

    Args:
        owned: The declared variables, by name.
        values: The value of each that has a right one.
    """
    members = Members()
    taken = names_of(owned)
    for settings, family, owner in _families(owned):
        names = values.get(family.names)
        words = names.value if names is not None and isinstance(names.value, tuple) else ()
        for index, word in enumerate(words):
            problem = _repeated(word, words[:index]) or _misnamed(word) or _colliding(settings, family, word, taken)
            if problem is None:
                brought = dict(_owned_by(settings, word, owner))
                members.owned.update(brought)
                taken.update(names_of(brought))
            else:
                by = owned[family.names].owner
                problem = replace(problem, key=family.names, value=word, origin=_origin(names), owner=by)
                if problem not in members.problems:  # once, whatever the number of classes in the family
                    members.problems.append(problem)
    return members


def strange_members(names: Iterable[tuple[str, str]], owned: Mapping[str, Owned]) -> Iterator[StrangeMember]:
    """The (name, origin) pairs that would be variables if their family's list named their member.

    Args:
        names: What people have set.
        owned: The variables, those of members too.
    """
    seen = set(names_of(owned))
    shapes = [(family.names, _shape(settings, family)) for settings, family, _ in _families(owned)]
    for name, origin in names:
        for listed_in, shape in shapes:
            if name not in seen and (found := shape.fullmatch(name)) and is_member_name(found[1].lower()):
                seen.add(name)
                yield StrangeMember(key=name, origin=origin, names=listed_in, member=found[1].lower())


def _shape(settings: type[Settings], family: Family) -> re.Pattern[str]:
    """What the variables of members look like; the member's name is the first group."""
    rests = [key.removeprefix(family.prefix) for key in (one.key for one in settings.__variables__)]
    longest_first = "|".join(map(re.escape, sorted(rests, key=len, reverse=True)))
    return re.compile(rf"{re.escape(family.prefix)}([A-Z0-9_]+?)_(?:{longest_first})(?:{FILE_SUFFIX})?")


def in_member(problem: ConfigProblem, settings: type[Settings]) -> ConfigProblem:
    """A problem that a member's settings have told of themselves, with the member's variables for the class's."""
    keys = {general.key: own.key for own, general in _pairs(settings)}
    longest_first = sorted(keys, key=len, reverse=True)
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")

    def translated(text: str) -> str:
        return pattern.sub(lambda found: keys[found[0]], text)

    return replace(
        problem,
        key=keys.get(problem.key, problem.key),
        reason=translated(problem.reason),
        action=translated(problem.action),
    )


def _families(owned: Mapping[str, Owned]) -> Iterator[tuple[type[Settings], Family, str]]:
    """The classes that are families, with their owners."""
    owners = {one.settings: one.owner for one in owned.values()}
    for settings, owner in owners.items():
        if settings.__family__ is not None and not settings.member:
            yield settings, settings.__family__, owner


def _owned_by(settings: type[Settings], member: str, owner: str) -> Iterator[tuple[str, Owned]]:
    made = member_settings(settings, member)
    for variable, general in _pairs(made):
        yield variable.key, Owned(variable, made, owner, general="" if variable.own else general.key)


def _pairs(settings: type[Settings]) -> Iterator[tuple[Variable, Variable]]:
    """The variables of a member, each beside that of its class."""
    return zip(settings.__variables__, general_settings(settings).__variables__, strict=True)


def _repeated(word: str, before: tuple[str, ...]) -> ConfigProblem | None:
    if word not in before:
        return None
    return ConfigProblem(key="", reason=f"names {word!r} twice", action="Name each once.")


def _misnamed(word: str) -> ConfigProblem | None:
    if is_member_name(word):
        return None
    return ConfigProblem(
        key="",
        reason="not a name: a small letter, then small letters, digits and underscores",
        action="Give it another name.",
    )


def _colliding(settings: type[Settings], family: Family, word: str, taken: Mapping[str, str]) -> ConfigProblem | None:
    for variable in settings.__variables__:
        for key in _forms(family.key(word, variable.key)):
            if key in taken:
                reason = f"with this name {key} has two meanings: that of {variable.key}, and {taken[key]}"
                return ConfigProblem(key="", reason=reason, action="Give it another name.")
    return None


def _forms(key: str) -> tuple[str, str]:
    return key, key + FILE_SUFFIX


def _origin(value: Value | None) -> str:
    return "" if value is None or value.origin == "default" else value.origin
