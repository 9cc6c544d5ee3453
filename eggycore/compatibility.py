"""Says whether a distribution accepts the eggycore that is running."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["refused_by"]

_NAMES_EGGYCORE = re.compile(r"\s*eggycore(?![\w.-])\s*(?:\[[^\]]*\])?", re.IGNORECASE)
_PLAIN_CLAUSE = re.compile(r"(>=|<)\s*(\d+(?:\.\d+)*)")
_PLAIN_VERSION = re.compile(r"\d+(?:\.\d+)*")


def refused_by(requires: Sequence[str], version: str) -> str | None:
    """The first requirement on eggycore that `version` does not meet, or None.

    Args:
        requires: Texts of Requires-Dist lines; those on other distributions are left to pip.
        version: The version of eggycore that is running.
    """
    for requirement in requires:
        named = _NAMES_EGGYCORE.match(requirement)
        if named and not _accepts(requirement, requirement[named.end() :].strip(" ()"), version):
            return requirement
    return None


def _accepts(requirement: str, specifiers: str, version: str) -> bool:
    """Compares the usual `>=0.1,<1` itself: importing packaging would cost every start 15 ms."""
    if not specifiers:
        return True
    clauses = [_PLAIN_CLAUSE.fullmatch(clause.strip()) for clause in specifiers.split(",")]
    if not _PLAIN_VERSION.fullmatch(version) or None in clauses:
        return _accepts_in_full(requirement, version)
    have = _numbers(version)
    return all((have >= _numbers(clause[2])) == (clause[1] == ">=") for clause in clauses if clause)


def _numbers(version: str) -> tuple[int, ...]:
    """The release without trailing zeros, so that 1.0 equals 1."""
    return tuple(map(int, re.sub(r"(\.0+)*$", "", version).split(".")))


def _accepts_in_full(requirement: str, version: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(requirement)
    except InvalidRequirement:
        return False
    if parsed.marker is not None and not parsed.marker.evaluate({"extra": ""}):
        return True
    return parsed.specifier.contains(version, prereleases=True)
