"""Names that look like variables and are none: a slip of the finger, or a member that its list does not name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from eggycore.diagnostics import did_you_mean

__all__ = ["NearMiss", "StrangeMember", "UnknownKey", "near_misses", "one_edit_apart", "unknown_keys"]


@dataclass(frozen=True, kw_only=True)
class NearMiss:
    """A variable that nobody declared, and the one it was perhaps meant to be. Its value is not kept.

    `str()` is a sentence for the log.
    """

    key: str
    origin: str
    meant: str

    def __str__(self) -> str:
        return f"{self.key}, set in {_where(self.origin)}, is not a known variable. Did you mean {self.meant!r}?"


@dataclass(frozen=True, kw_only=True)
class StrangeMember:
    """A variable of a family for a member that the family's list does not name. Its value is not kept.

    `str()` is a sentence for the log.
    """

    key: str
    origin: str
    names: str
    member: str

    def __str__(self) -> str:
        return f"{self.key}, set in {_where(self.origin)}, is not read: {self.names} does not name {self.member!r}."


@dataclass(frozen=True, kw_only=True)
class UnknownKey:
    """A key of a file of config/ that is no variable of anybody who is here. Its value is not kept.

    `str()` is a sentence for the log.
    """

    key: str
    origin: str
    hint: str = ""

    def __str__(self) -> str:
        nobody = "is not a variable of eggycore, of the app or of a selected plugin"
        return f"{self.key}, set in {self.origin}, {nobody}.{self.hint}"


def unknown_keys(names: Iterable[tuple[str, str]], known: Collection[str]) -> Iterator[UnknownKey]:
    """The (name, origin) pairs of files that are none of the known names, each name once."""
    seen = set(known)
    for name, origin in names:
        if name not in seen:
            seen.add(name)
            yield UnknownKey(key=name, origin=origin, hint=did_you_mean(name, known))


def near_misses(names: Iterable[tuple[str, str]], known: Collection[str]) -> Iterator[NearMiss]:
    """The (name, origin) pairs that are one edit, or the case of letters, away from a known name."""
    by_length: dict[int, list[str]] = {}
    for key in known:
        by_length.setdefault(len(key), []).append(key)
    seen = set(known)
    for name, origin in names:
        if name in seen:
            continue
        seen.add(name)
        candidates = (key for length in (-1, 0, 1) for key in by_length.get(len(name) + length, ()))
        meant = next((key for key in candidates if one_edit_apart(name.upper(), key)), None)
        if meant is not None:
            yield NearMiss(key=name, origin=origin, meant=meant)


def _where(origin: str) -> str:
    return "the environment" if origin == "environment" else origin


def one_edit_apart(one: str, other: str) -> bool:
    """Whether one character added, left out, replaced, or swapped with its neighbour makes them equal, or none."""
    if abs(len(one) - len(other)) > 1:
        return False
    short, long = sorted((one, other), key=len)
    start = _common_prefix(short, long)
    if short[start:] == long[start:]:
        return True
    if len(short) < len(long):
        return short[start:] == long[start + 1 :]
    return short[start + 1 :] == long[start + 1 :] or (
        short[start : start + 2] == long[start : start + 2][::-1] and short[start + 2 :] == long[start + 2 :]
    )


def _common_prefix(one: str, other: str) -> int:
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))
