"""A cache in the memory of this process: least recently used out first, within bounds of entries and bytes."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Literal, NamedTuple

from eggycore_cache.backend import BackendStats, Reply
from eggycore_cache.errors import CacheClosed, NotANumber, ValueTooLarge
from eggycore_cache.instruments import Instruments

if TYPE_CHECKING:
    from eggycore_cache.access import Access

__all__ = ["MemoryBackend"]

STALE_DEADLINES = 1000
"""Deadlines of values that are gone, beyond as many as there are entries, before they are swept out."""

_NUMBER = re.compile(rb"[0-9]{1,20}")


class _Group:
    """The keys of one prefix that has a bound of its own, the least recently used first."""

    __slots__ = ("keys", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.keys: OrderedDict[str, None] = OrderedDict()


class _Entry(NamedTuple):
    value: bytes
    size: int
    deadline: float | None
    group: _Group | None


class MemoryBackend:
    """Bytes by key in this process. Not thread-safe: it belongs to one event loop, and no operation awaits.

    Expired values are dropped before any living one is put out to make room.

    Args:
        max_entries: The most values.
        max_bytes: The most bytes of keys (UTF-8) and values together.
        clock: Seconds, never going back.
        instruments: Where entries, bytes and evictions are counted.
    """

    kind: Literal["memory"] = "memory"
    available = True

    def __init__(
        self,
        *,
        max_entries: int,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        instruments: Instruments | None = None,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._instruments = instruments
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the least recently used first
        self._groups: dict[str, _Group] = {}
        self._deadlines: list[tuple[float, str]] = []  # a heap; may hold deadlines of values that are gone
        self._bytes = 0
        self._evictions = 0
        self._closed = False

    @property
    def entries(self) -> int:
        """How many values it holds."""
        return len(self._entries)

    @property
    def size(self) -> int:
        """How many bytes its keys and values have."""
        return self._bytes

    def takes(self, key: str, value: bytes) -> bool:
        """Whether a value fits, were it alone."""
        return len(value) + len(key.encode()) <= self._max_bytes

    def limit(self, *, max_entries: int | None = None, max_bytes: int | None = None) -> None:
        """Keep at most so many values, and so many bytes of them; those beyond are put out at once."""
        self._max_entries = self._max_entries if max_entries is None else max_entries
        self._max_bytes = self._max_bytes if max_bytes is None else max_bytes
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._evict(next(iter(self._entries)))
        self._count()

    def bound(self, prefix: str, max_entries: int | None) -> None:
        """Keep at most so many values whose keys begin with this text; None for no bound but the common one.

        Of prefixes that begin alike the longest counts. Values beyond a new bound are put out at once.
        """
        self._groups.pop(prefix, None)
        if max_entries is not None:
            self._groups[prefix] = _Group(max_entries)
        self._groups = dict(sorted(self._groups.items(), key=lambda item: -len(item[0])))
        for key in [key for key in self._entries if key.startswith(prefix)]:
            entry = self._entries[key]._replace(group=self._group_of(key))
            self._entries[key] = entry
            if entry.group is not None:
                entry.group.keys[key] = None
        for group in self._groups.values():
            self._shrink(group, group.limit)
        self._count()

    async def open(self) -> None:
        """Nothing to connect to."""

    async def get(self, key: str, *, timeout: float | None = None) -> bytes | None:
        """The value, or None; it is the most recently used one now."""
        return self.get_now(key)

    def get_now(self, key: str) -> bytes | None:
        """As `get`, for callers that do not await."""
        entry = self._entries.get(key)
        if entry is None or (entry.deadline is not None and self._clock() >= entry.deadline):
            self._gone(key)
            return None
        self._entries.move_to_end(key)
        if entry.group is not None:
            entry.group.keys.move_to_end(key)
        return entry.value

    async def get_many(self, keys: Sequence[str], *, timeout: float | None = None) -> list[Reply]:
        """The values, in the order of the keys."""
        return [self.get_now(key) for key in keys]

    async def set(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool:
        """Keep a value, and put out as many as it takes to stay within bounds.

        Raises:
            ValueTooLarge: It does not fit alone. What the key had before is gone.
        """
        self._put(key, value, None if ttl is None else self._clock() + ttl)
        return True

    async def set_many(
        self, items: Mapping[str, bytes], ttl: float | None, *, timeout: float | None = None
    ) -> frozenset[str]:
        """Keep several values.

        Raises:
            ValueTooLarge: One does not fit alone. Those before it are kept.
        """
        for key, value in items.items():
            await self.set(key, value, ttl)
        return frozenset()

    async def add(self, key: str, value: bytes, ttl: float | None, *, timeout: float | None = None) -> bool:
        """Keep a value unless there is one; whether it was kept."""
        return self._living(key) is None and await self.set(key, value, ttl)

    async def incr(self, key: str, amount: int, ttl: float | None, *, timeout: float | None = None) -> int:
        """Add to a whole number; see `Backend.incr`.

        Raises:
            NotANumber: What is kept is no whole number.
        """
        if (entry := self._living(key)) is None:
            number, deadline = max(0, amount), None if ttl is None else self._clock() + ttl
        elif _NUMBER.fullmatch(entry.value):
            number, deadline = max(0, int(entry.value) + amount), entry.deadline
        else:
            raise NotANumber(key)
        self._put(key, b"%d" % number, deadline)
        return number

    async def touch(self, key: str, ttl: float | None, *, timeout: float | None = None) -> bool:
        """Give a value another time to live, from now; whether there is one."""
        if (entry := self._living(key)) is None:
            return False
        deadline = None if ttl is None else self._clock() + ttl
        self._entries[key] = entry._replace(deadline=deadline)
        if deadline is not None:
            self._remember(deadline, key)
        return True

    async def delete(self, key: str, *, timeout: float | None = None) -> bool:
        """Forget a value; whether there was one."""
        existed = self._living(key) is not None
        self._drop(key)
        self._count()
        return existed

    async def delete_many(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        """Forget several values; how many there were."""
        return sum([await self.delete(key) for key in keys])

    async def exists(self, key: str, *, timeout: float | None = None) -> bool:
        """Whether there is a value. Does not count as a use of it."""
        return self._living(key) is not None

    async def clear_prefix(self, prefix: str, *, timeout: float | None = None) -> bool:
        """Forget every value whose key begins with this text. Looks at every key."""
        self._check_open()
        for key in [key for key in self._entries if key.startswith(prefix)]:
            self._drop(key)
        self._count()
        return True

    async def ping(self) -> None:
        """Return while it is open.

        Raises:
            CacheClosed: It is not.
        """
        self._check_open()

    async def stats(self) -> BackendStats:
        """What it holds now, without what has expired."""
        self._drop_expired()
        self._count()
        return BackendStats(entries=len(self._entries), bytes=self._bytes, evictions=self._evictions)

    def set_access(self, access: Access) -> None:
        """There are no servers here."""

    async def close(self) -> None:
        """Forget everything."""
        self._closed = True
        self._entries.clear()
        self._groups.clear()
        self._deadlines.clear()
        self._bytes = 0
        self._count()

    def _check_open(self) -> None:
        if self._closed:
            raise CacheClosed

    def _living(self, key: str) -> _Entry | None:
        self._check_open()
        entry = self._entries.get(key)
        if entry is None or entry.deadline is None or self._clock() < entry.deadline:
            return entry
        self._gone(key)
        return None

    def _gone(self, key: str) -> None:
        """Forget what has expired, if there is something under this key."""
        self._check_open()
        if key in self._entries:
            self._drop(key)
            self._count()

    def _put(self, key: str, value: bytes, deadline: float | None) -> None:
        self._check_open()
        self._drop(key)
        size = len(value) + len(key.encode())
        if size > self._max_bytes:
            self._count()
            raise ValueTooLarge(key, size, self._max_bytes, "CACHE_MAX_SIZE")
        group = self._group_of(key) if self._groups else None
        self._make_room(size, group)
        self._entries[key] = _Entry(value, size, deadline, group)
        if group is not None:
            group.keys[key] = None
        self._bytes += size
        if deadline is not None:
            self._remember(deadline, key)
        self._count()

    def _drop(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= entry.size
            if entry.group is not None:
                entry.group.keys.pop(key, None)

    def _group_of(self, key: str) -> _Group | None:
        return next((group for prefix, group in self._groups.items() if key.startswith(prefix)), None)

    def _make_room(self, size: int, group: _Group | None) -> None:
        if self._fits(size) and (group is None or len(group.keys) < group.limit):
            return
        self._drop_expired()
        if group is not None:
            self._shrink(group, group.limit - 1)
        while not self._fits(size):
            self._evict(next(iter(self._entries)))

    def _shrink(self, group: _Group, limit: int) -> None:
        while len(group.keys) > limit:
            self._evict(next(iter(group.keys)))

    def _evict(self, key: str) -> None:
        self._drop(key)
        self._evictions += 1
        if self._instruments:
            self._instruments.evictions.inc()

    def _fits(self, size: int) -> bool:
        return len(self._entries) < self._max_entries and self._bytes + size <= self._max_bytes

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, key = heappop(self._deadlines)
            entry = self._entries.get(key)
            if entry is not None and entry.deadline == deadline:
                self._drop(key)

    def _remember(self, deadline: float, key: str) -> None:
        heappush(self._deadlines, (deadline, key))
        if len(self._deadlines) > 2 * len(self._entries) + STALE_DEADLINES:
            self._deadlines = [(e.deadline, k) for k, e in self._entries.items() if e.deadline is not None]
            heapify(self._deadlines)

    def _count(self) -> None:
        if self._instruments:
            self._instruments.entries.set(len(self._entries))
            self._instruments.bytes.set(self._bytes)
