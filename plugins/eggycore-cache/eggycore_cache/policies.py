"""How long and how many values of a kind are kept: what the settings say, else the code, else the settings for all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eggycore_cache.settings import CachePolicy

__all__ = ["DEFAULT_JITTER", "DEFAULT_MAX_ENTRIES", "Lifetime", "Policy", "checked_stale", "checked_ttl"]

DEFAULT_JITTER = 0.1
DEFAULT_MAX_ENTRIES = 100_000


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How values of a kind are kept. None for what is not said.

    Args:
        ttl: Seconds, above 0; `math.inf` for no end.
        stale: Seconds after that in which the old value is still served while a new one is made.
        ttl_jitter: Up to what part of the ttl is taken off at random, so that values do not expire all at once.
        max_entries: The most values of the kind in this process.
    """

    ttl: float | None = None
    stale: float | None = None
    ttl_jitter: float | None = None
    max_entries: int | None = None

    def __post_init__(self) -> None:
        checked_ttl(self.ttl)
        checked_stale(self.stale)
        if self.ttl_jitter is not None and not 0 <= self.ttl_jitter < 1:
            raise ValueError(f"ttl_jitter is {self.ttl_jitter} and must be at least 0 and below 1")
        if self.max_entries is not None and self.max_entries < 1:
            raise ValueError(f"max_entries is {self.max_entries} and must be 1 or more")

    @classmethod
    def of(cls, settings: CachePolicy) -> Policy:
        """What the settings of a kind, or of all kinds, say."""
        return cls(
            ttl=settings.ttl,
            stale=settings.stale,
            ttl_jitter=settings.ttl_jitter,
            max_entries=settings.max_entries,
        )

    @classmethod
    def of_all(cls, settings: CachePolicy) -> Policy:
        """What the settings of all kinds say, with the bound that there is without them."""
        return cls.of(settings).over(cls(max_entries=DEFAULT_MAX_ENTRIES))

    def over(self, other: Policy) -> Policy:
        """This policy, and the other one's where this one says nothing."""
        said: dict[str, Any] = {}
        for field in fields(self):
            own = getattr(self, field.name)
            said[field.name] = getattr(other, field.name) if own is None else own
        return Policy(**said)

    def lifetime(self, ttl: float | None, stale: float | None, random: Callable[[], float]) -> Lifetime:
        """How long a value that is made now is kept.

        Args:
            ttl: What the caller says, None for nothing.
            stale: What the caller says, None for nothing.
            random: From 0 to below 1.

        Raises:
            ValueError: The ttl is not above 0, or stale is below 0 or has no end.
        """
        fresh = checked_ttl(self.ttl if ttl is None else ttl)
        lingering = checked_stale(self.stale if stale is None else stale) or 0
        if fresh is None:
            return Lifetime(fresh=None, kept=None)
        jitter = DEFAULT_JITTER if self.ttl_jitter is None else self.ttl_jitter
        fresh *= 1 - jitter * random()
        return Lifetime(fresh=fresh if lingering else None, kept=fresh + lingering)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifetime:
    """How long a value is good for.

    Args:
        fresh: Seconds until it is stale, None when it never is.
        kept: Seconds until it is gone, None for no end.
    """

    fresh: float | None
    kept: float | None


def checked_ttl(ttl: float | None) -> float | None:
    """The ttl as backends take it: None for no end.

    Raises:
        ValueError: It is not above 0.
    """
    if ttl is None or ttl == math.inf:
        return None
    if not ttl > 0:
        raise ValueError(f"ttl is {ttl} and must be above 0 seconds (math.inf for no end)")
    return ttl


def checked_stale(stale: float | None) -> float | None:
    """The same seconds.

    Raises:
        ValueError: They are below 0 or have no end.
    """
    if stale is not None and not 0 <= stale < math.inf:
        raise ValueError(f"stale is {stale} and must be 0 seconds or more, and have an end")
    return stale
