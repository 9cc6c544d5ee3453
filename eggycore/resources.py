"""The typed registry of what initializers provide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, cast

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError

__all__ = ["ResourceMissing", "Resources"]

T = TypeVar("T")


@dataclass(eq=False)
class ResourceMissing(EggycoreError):
    """A resource was asked for that nobody has opened (yet)."""

    type_name: str
    provided: tuple[str, ...] = ()


@diagnose.register
def _(error: ResourceMissing) -> Diagnosis:
    have = ", ".join(error.provided) or "none"
    return Diagnosis(
        description=f"No resource of type {error.type_name} is open.",
        cause=f"Open now: {have}.",
        action="Ask for it in a handler, a run function or an initializer that requires it; a plan opens nothing.",
    )


class Resources:
    """Values by type. Owned by one runtime; written by its launcher, read by everything else (thread-safe)."""

    def __init__(self) -> None:
        self._values: dict[type[Any], object] = {}

    def provide(self, type_: type[T], value: T) -> None:
        """Make `value` the resource of this type, replacing an earlier one."""
        self._values[type_] = value

    def withdraw(self, type_: type[Any]) -> None:
        """Forget the resource of this type, if there is one."""
        self._values.pop(type_, None)

    def get(self, type_: type[T]) -> T:
        """The resource of this type.

        Raises:
            ResourceMissing: Nothing of this type is open.
        """
        try:
            return cast(T, self._values[type_])
        except KeyError:
            raise ResourceMissing(type_.__qualname__, tuple(t.__qualname__ for t in self._values)) from None

    def __contains__(self, type_: type[Any]) -> bool:
        return type_ in self._values
