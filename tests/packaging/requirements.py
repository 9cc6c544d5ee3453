"""What distributions require, directly or not, in this environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def installed_requires(name: str) -> list[str]:
    """The requirements of an installed distribution, markers included."""
    return distribution(name).requires or []


def closure(wanted: Iterable[str], requires: Callable[[str], list[str]] = installed_requires) -> set[str]:
    """Canonical names of everything that `wanted` ("name" or "name[extra]") requires, itself included.

    Args:
        wanted: Requirements to begin with.
        requires: Gives the requirements of a distribution by its canonical name.
    """
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = list(map(Requirement, wanted))
    while queue:
        requirement = queue.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) not in seen:
            seen.add((name, extras))
            queue.extend(each for each in map(Requirement, requires(name)) if _applies(each, extras))
    return {name for name, _ in seen}


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""})
