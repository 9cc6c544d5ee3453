"""A cache in the memory of this process: least recently used out first, within bounds of entries and bytes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from eggycore_cache.errors import CacheClosed, ValueTooLarge
from eggycore_cache.instruments import Instruments

__all__ = ["MemoryBackend"]

STALE_DEADLINES = 1000
"""Deadlines of values that are gone, beyond as many as there are entries, before they are swept out."""


class _Entry(NamedTuple):
    value: bytes
    size: int
    deadline: float | None


class MemoryBackend:
    """Bytes by key in this process. Not thread-safe: it belongs to one event loop, and no operation awaits.

    Expired values are dropped before any living one is put out to make room.

    Args:
        max_entries: The most values.
        max_bytes: The most bytes of keys (UTF-8) and values together.
        clock: Seconds, never going back.
        instruments: Where entries, bytes and evictions are counted.
    """

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
        self._deadlines: list[tuple[float, str]] = []  # a heap; may hold deadlines of values that are gone
        self._bytes = 0
        self._closed = False

    @property
    def entries(self) -> int:
        """How many values it holds."""
        return len(self._entries)

    @property
    def size(self) -> int:
        """How many bytes its keys and values have."""
        return self._bytes

    async def get(self, key: str) -> bytes | None:
        """The value, or None; it is the most recently used one now."""
        if (entry := self._living(key)) is None:
            return None
        self._entries.move_to_end(key)
        return entry.value

    async def set(self, key: str, value: bytes, ttl: float | None) -> None:
        """Keep a value, and put out as many as it takes to stay within bounds.

        Raises:
            ValueTooLarge: It does not fit alone. What the key had before is gone.
        """
        self._drop(key)
        size = len(value) + len(key.encode())
        if size > self._max_bytes:
            self._count()
            raise ValueTooLarge(key, size, self._max_bytes, "CACHE_MAX_SIZE")
        self._make_room(size)
        deadline = None if ttl is None else self._clock() + ttl
        self._entries[key] = _Entry(value, size, deadline)
        self._bytes += size
        if deadline is not None:
            self._remember(deadline, key)
        self._count()

    async def delete(self, key: str) -> bool:
        """Forget a value; whether there was one."""
        existed = self._living(key) is not None
        self._drop(key)
        self._count()
        return existed

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return self._living(key) is not None

    async def ping(self) -> None:
        """Return while it is open.

        Raises:
            CacheClosed: It is not.
        """
        if self._closed:
            raise CacheClosed

    async def close(self) -> None:
        """Forget everything."""
        self._closed = True
        self._entries.clear()
        self._deadlines.clear()
        self._bytes = 0
        self._count()

    def _living(self, key: str) -> _Entry | None:
        if self._closed:
            raise CacheClosed
        entry = self._entries.get(key)
        if entry is None or entry.deadline is None or self._clock() < entry.deadline:
            return entry
        self._drop(key)
        self._count()
        return None

    def _drop(self, key: str) -> None:
        if self._closed:
            raise CacheClosed
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= entry.size

    def _make_room(self, size: int) -> None:
        if self._fits(size):
            return
        self._drop_expired()
        while not self._fits(size):
            _, entry = self._entries.popitem(last=False)
            self._bytes -= entry.size
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
