"""What a cache server, or the memory of this process, does for `CacheService`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from eggycore_cache.access import Access

__all__ = ["NO_ANSWER", "Backend", "BackendStats", "NoAnswer", "Reply", "ServerStats"]


class NoAnswer(Enum):
    """The type of `NO_ANSWER`, so that it is told apart from every value and from a miss."""

    NO_ANSWER = "no answer"

    def __bool__(self) -> Literal[False]:
        return False


NO_ANSWER = NoAnswer.NO_ANSWER
"""In place of an answer: the server is down, too slow, or not asked because its breaker is open."""

Reply: TypeAlias = bytes | NoAnswer | None
"""The value, None when there is none, or NO_ANSWER."""


@dataclass(frozen=True, kw_only=True)
class ServerStats:
    """One server, as this process sees it.

    Args:
        server: Host and port, without user and password.
        state: State of its circuit breaker.
        errors: Requests that it did not answer.
        reason: Why the last one was not answered, "" when all were.
        action: What to do about that, "" when it is not known.
    """

    server: str
    state: Literal["closed", "open", "half-open"]
    errors: int = 0
    reason: str = ""
    action: str = ""


@dataclass(frozen=True, kw_only=True)
class BackendStats:
    """What a backend holds. None for what it cannot tell."""

    entries: int | None = None
    bytes: int | None = None
    evictions: int | None = None
    servers: tuple[ServerStats, ...] = ()


class Backend(Protocol):
    """Keeps bytes by key for a while. Keys have been checked and carry their namespace ("app:user:7").

    What is kept may vanish at any moment, to make room or because a server restarted; it is never kept beyond its
    time to live. No method raises because a server is down, slow or away: it says NO_ANSWER (or the like) then.
    A method may raise ValueTooLarge, CacheClosed, and what a programming mistake raises. `timeout` is in seconds,
    None for the backend's own. `ttl` is in seconds, above 0, None for no end.
    """

    @property
    def kind(self) -> Literal["memory", "memcached", "redis"]:
        """For metrics and messages."""

    @property
    def available(self) -> bool:
        """Whether at least one server may be asked now (no breaker, or one that is not open)."""

    async def open(self) -> None:
        """Connect, as far as that is possible now; a server that is down is no error."""

    async def get(self, key: str, *, timeout: float | None = None) -> Reply:
        """The value."""

    async def get_many(self, keys: Sequence[str], *, timeout: float | None = None) -> list[Reply]:
        """The values, in the order of the keys."""

    async def set(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool:
        """Keep a value; whether a server has confirmed that."""

    async def set_many(
        self, items: Mapping[str, bytes], ttl: float | None, *, timeout: float | None = None
    ) -> frozenset[str]:
        """Keep several values; the keys that were not confirmed."""

    async def add(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        """Keep a value unless there is one; whether it was kept."""

    async def incr(self, key: str, amount: int, ttl: float | None, *, timeout: float | None = None) -> int | NoAnswer:
        """Add `amount` (it may be negative; the result never falls below 0) to a whole number kept as ASCII digits.

        A key without a value starts at 0, with that ttl; the ttl of one that has a value stays.

        Raises:
            NotANumber: What is kept is no whole number.
        """

    async def touch(self, key: str, ttl: float | None, *, timeout: float | None = None) -> bool | NoAnswer:
        """Give a value another time to live, from now; whether there is one."""

    async def delete(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        """Forget a value; whether there was one."""

    async def delete_many(self, keys: Sequence[str], *, timeout: float | None = None) -> int | NoAnswer:
        """Forget several values; how many there were, NO_ANSWER when a server did not answer."""

    async def exists(self, key: str, *, timeout: float | None = None) -> bool | NoAnswer:
        """Whether there is a value. Does not count as a use of it."""

    async def clear_prefix(self, prefix: str, *, timeout: float | None = None) -> bool:
        """Forget every value whose key begins with this text; whether all servers have confirmed that."""

    async def ping(self) -> None:
        """Return when every server answers.

        Raises:
            CacheDown: A server does not answer; says which and why, without secrets.
        """

    async def stats(self) -> BackendStats:
        """What it holds now."""

    def set_access(self, access: Access) -> None:
        """Reach the servers like this from now on; connections that stand stay."""

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
