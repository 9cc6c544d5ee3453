"""One watch of the API server of the tests, from its first event to its end."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from tests.servers.kubernetes_faults import Faults
from tests.servers.kubernetes_kinds import Kind
from tests.servers.kubernetes_selectors import Matches
from tests.servers.kubernetes_status import ApiStatus, Object, expired
from tests.servers.kubernetes_store import Change, Store

LONGEST = (1800.0, 3600.0)
"""Seconds that a watch lasts whose caller names no time; drawn between these."""

BOOKMARK_EVERY = 60.0
"""Seconds between bookmarks, unless the test sets another pace."""

BEFORE_END = 2.0
"""Seconds before a watch's end in which its last bookmark is sent."""


class Watch:
    """A watch that is open. Lives in the server's loop; `wake` and `cut` come from there too.

    Args:
        since: The resourceVersion that events come after; None begins with what there is.
        timeout: Seconds until it ends; None for the server's own choice.
        bookmarks: Whether the caller allows them.

    Attributes:
        has_begun: Whether its version was found in the history, so that it is told of whatever comes now.
    """

    def __init__(
        self,
        store: Store,
        faults: Faults,
        kind: Kind,
        *,
        namespace: str,
        matches: Matches,
        since: int | None,
        timeout: float | None,
        bookmarks: bool,
    ) -> None:
        self._store, self._faults, self._kind = store, faults, kind
        self._namespace, self._matches, self._since = namespace, matches, since
        self._timeout = random.uniform(*LONGEST) if timeout is None else timeout
        self._bookmarks = bookmarks
        self._news = asyncio.Event()
        self._cut_next_line = False
        self._expired = False
        self.has_begun = False

    def wake(self) -> None:
        """There is news."""
        self._news.set()

    def cut(self) -> None:
        """End the connection in the middle of the next line."""
        self._cut_next_line = True

    def expire(self) -> None:
        """Tell it now that its version is too old."""
        self._expired = True
        self._news.set()

    async def stream(self, response: web.StreamResponse) -> None:
        """Send events until the time is over or the caller has gone. The response is prepared."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        bookmark = self._next_bookmark(deadline)
        try:
            position = self._since
            if position is None:
                objects, position = self._store.objects(self._kind, self._namespace)
                for each in objects:
                    if self._matches(each):
                        await self._send(response, "ADDED", each)
            else:
                self._store.after(position)  # raises when it is too old
            begin, self.has_begun = position, True
            while loop.time() < deadline:
                self._news.clear()
                position = await self._catch_up(response, position)
                if loop.time() >= bookmark:
                    if self._faults.bookmark_every is not None:
                        self._store.pass_by()
                        position = await self._catch_up(response, position)
                    if self._bookmarks and position > begin:  # with nothing new there is none
                        await self._send(response, "BOOKMARK", self._bookmark(position))
                    bookmark = self._next_bookmark(deadline)
                try:
                    async with asyncio.timeout_at(min(deadline, bookmark)):
                        await self._news.wait()
                except TimeoutError:
                    pass
        except ApiStatus as status:
            await self._send(response, "ERROR", status.as_object())

    async def _catch_up(self, response: web.StreamResponse, position: int) -> int:
        if self._expired:
            raise expired(f"too old resource version: {position} ({self._store.version})")
        newest = self._store.version  # before the look: whatever is in it has been seen then
        for change in self._store.after(position, live=True):
            event = self._event(change)
            if event is not None and change.told:
                await self._send(response, *event)
            position = change.version
        return max(position, newest)

    def _event(self, change: Change) -> tuple[str, Object] | None:
        """What this watch is told of a write: an object that no longer matches is deleted, for those who watch it."""
        plural, namespace, _ = change.key
        if plural != self._kind.plural or self._namespace not in ("", namespace):
            return None
        was = change.before is not None and self._matches(change.before)
        now = change.after is not None and self._matches(change.after)
        if now:
            return "MODIFIED" if was else "ADDED", change.last
        if not was:
            return None
        gone = copy.deepcopy(change.before)
        assert gone is not None
        gone["metadata"]["resourceVersion"] = str(change.version)
        return "DELETED", gone

    def _bookmark(self, version: int) -> Object:
        metadata = {"resourceVersion": str(version), "creationTimestamp": None}
        bookmark = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata}
        return bookmark | {field: {} for field in self._kind.fields if field == "spec"}

    def _next_bookmark(self, deadline: float) -> float:
        now = asyncio.get_running_loop().time()
        last = deadline - BEFORE_END
        pace = self._faults.bookmark_every
        soon = now + (BOOKMARK_EVERY if pace is None else pace)
        return min(soon, last) if last > now else soon

    async def _send(self, response: web.StreamResponse, kind: str, made: Mapping[str, Any]) -> None:
        line = orjson.dumps({"type": kind, "object": made}) + b"\n"
        if self._cut_next_line:
            await response.write(line[: len(line) // 2])
            raise ConnectionAbortedError("cut in the middle of a line")
        await write(response, line, self._faults)


async def write(response: web.StreamResponse, body: bytes, faults: Faults) -> None:
    """Send these bytes: at once, or in a trickle."""
    if faults.trickle is None:
        await response.write(body)
        return
    piece, pause = faults.trickle
    for begin in range(0, len(body), piece):
        await response.write(body[begin : begin + piece])
        await asyncio.sleep(pause)
