"""A family of variables: those of a settings class once more for each member that another variable names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

from eggycore.config.variable import Variable

if TYPE_CHECKING:
    from eggycore.config.settings import Settings

__all__ = ["Family", "general_settings", "is_member_name", "member_settings"]

S = TypeVar("S", bound="Settings")

_MEMBER = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Family:
    """How the variables of a family are named.

    Args:
        names: The variable, a list of words, that names the members: "DATABASES".
        prefix: What every variable of the class begins with: "DATABASE_".
    """

    names: str
    prefix: str

    def key(self, member: str, key: str) -> str:
        """The name of a member's variable: "DATABASE_ORDERS_DSN" for the member "orders" and "DATABASE_DSN"."""
        return f"{self.prefix}{member.upper()}_{key.removeprefix(self.prefix)}"

    def check(self, where: str, variables: Iterable[Variable]) -> None:
        """See that the variables of the class `where` can be a family.

        Raises:
            TypeError: They cannot.
        """
        for variable in variables:
            if not variable.key.startswith(self.prefix) or variable.key == self.prefix:
                raise TypeError(f"{where}: {variable.key} does not begin with the prefix {self.prefix!r} of its family")
            if variable.key == self.names:
                raise TypeError(f"{where}: {variable.key} names the members, so another class has to declare it")
            if variable.listens and not variable.own:
                raise TypeError(f"{where}: {variable.key} is a port, which members cannot share: declare it own=True")


def is_member_name(word: str) -> bool:
    """Whether a member can have this name: a small letter, then small letters, digits and underscores."""
    return _MEMBER.fullmatch(word) is not None


def member_settings(settings: type[S], member: str) -> type[S]:
    """The class of one member's settings: a subclass with the member's variables, the same one each time."""
    known = settings.__members__.get(member)
    if known is None:
        made = _made(settings, member)
        known = settings.__members__.setdefault(member, made)  # two threads may make it; one class is kept
    return cast(type[S], known)


def general_settings(settings: type[Settings]) -> type[Settings]:
    """The class that a member's class was made of; any other class itself."""
    return cast("type[Settings]", settings.__base__) if settings.member else settings


def _made(settings: type[S], member: str) -> type[S]:
    family = settings.__family__
    assert family is not None  # only those of families have members
    names = {variable.key: family.key(member, variable.key) for variable in settings.__variables__}
    scope = {"__module__": settings.__module__, "__qualname__": f"{settings.__qualname__}[{member}]"}
    made = cast(type[S], type(f"{settings.__name__}[{member}]", (settings,), scope))
    made.member = member
    made.__variables__ = tuple(
        replace(variable, key=names[variable.key], also=(), when=names.get(variable.when or "", variable.when))
        for variable in settings.__variables__
    )
    return made
