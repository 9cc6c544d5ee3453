"""Keeps up with one collection of the API server: lists it, watches it, and never believes a watch for too long."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, NoReturn, TypeAlias

from eggycore import log
from eggycore.diagnostics import diagnose
from eggycore.metrics import Registry
from eggycore_k8s_watch.api import ApiClient, WatchEvent
from eggycore_k8s_watch.errors import ApiError, ApiRefused, BadAnswer, Gone
from eggycore_k8s_watch.objects import Collection, Object, name_of, version_of

__all__ = ["Objects", "Pace", "Reflector", "Trouble"]

Objects: TypeAlias = Mapping[str, Object]
"""All objects of the collection by name, at one moment. Neither it nor the objects are changed by anybody."""

RelistReason = Literal["gone", "lost", "older"]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often the server is asked, in seconds.

    Args:
        least: Between two attempts, at the very least, when the one before did not last.
        first: Upper bound of the random delay after a first failure; doubled with every further one.
        most: Upper bound of that bound.
        proven: A watch that has lived so long was a success.
        watch: How long the server is asked to keep a watch, give or take a tenth.
    """

    least: float = 0.5
    first: float = 1.0
    most: float = 15.0
    proven: float = 5.0
    watch: float = 240.0

    def delay(self, failures: int, rng: random.Random, at_least: float | None = None) -> float:
        """Seconds to wait after so many failures in a row (1 or more), full jitter within them.

        Args:
            failures: How many.
            rng: Where chance comes from.
            at_least: What the server has asked for.
        """
        bound = min(self.most, self.first * 2.0 ** min(failures - 1, 30))
        chosen = max(self.least, rng.uniform(0, bound))
        return chosen if at_least is None else max(chosen, at_least + rng.uniform(0, min(bound, at_least)))


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why the collection is not followed at the moment.

    Args:
        error: What the last attempt ended with.
        since: When the first one failed; on the reflector's clock.
    """

    error: ApiError
    since: float


@dataclass
class _Attempt:
    """One list and watch, or one resumed watch: what came of it."""

    opened: float | None = None
    delivered: int = 0
    has_listed_news: bool = False


@dataclass(kw_only=True)
class Reflector:
    """Follows one collection. Used by one task on one event loop; the properties may be read at any time.

    - It lists, and watches from the version of the list; a watch that ends is resumed from the last version seen.
    - It lists again when the server no longer has that version, when a watch has delivered nothing, not even a
      bookmark, and when a version goes back. A list replaces everything that is known, so that what was deleted unseen
      is noticed.
    - Between attempts that do not last it waits, longer each time, and as long as the server asks.

    Args:
        api: The client.
        collection: What is followed.
        name: Only the object of this name.
        labels: Only those that this label selector selects.
        pace: How often the server is asked.
        metrics: Where it is measured.
        rng: Where chance comes from.
        clock: Seconds on a clock that never goes back.
        sleep: Waits so many seconds.
    """

    api: ApiClient
    collection: Collection
    name: str = ""
    labels: str = ""
    pace: Pace = field(default_factory=Pace)
    metrics: Registry = field(default_factory=Registry)
    rng: random.Random = field(default_factory=random.Random)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._version = ""
        self._must_list: RelistReason | None = None
        self._has_listed = False
        self._is_older_again = False
        self._failures = 0
        self._trouble: Trouble | None = None
        self._has_warned = False
        self._events = self.metrics.counter(
            "k8s_watch_events_total", "Events that the watches of the Kubernetes API have delivered.", ("type",)
        )
        self._relists = self.metrics.counter(
            "k8s_watch_relists_total", "Collections listed again because a watch could not go on.", ("reason",)
        )
        self._connected = self.metrics.gauge(
            "k8s_watch_connected", "1 while the watch of the Kubernetes API stands, else 0."
        )
        self._connected.set(0)

    @property
    def objects(self) -> Objects:
        """The collection as it is known."""
        return dict(self._objects)

    @property
    def version(self) -> str:
        """The last resourceVersion seen; "" before the first list."""
        return self._version

    @property
    def trouble(self) -> Trouble | None:
        """Why it is not followed at the moment; None while it is."""
        return self._trouble

    async def list(self) -> Objects:
        """List the collection, once.

        Raises:
            ApiError: It could not be listed.
        """
        pages: dict[str, Object] = {}
        more = version = ""
        while True:
            page = await self.api.list(self.collection, name=self.name, labels=self.labels, more=more)
            pages |= {name_of(one): one for one in page.items}
            version, more = page.resource_version, page.more
            if not more:
                break
        if not version:
            raise BadAnswer(self.api.access.server, "lists without saying of which version")
        self._check_list(version)
        self._objects, self._version = pages, version
        self._has_listed, self._must_list = True, None
        return self.objects

    async def run(self, changed: Callable[[Objects], None]) -> NoReturn:
        """Follow the collection until cancelled; whatever goes wrong is `trouble`, and tried again.

        Args:
            changed: Called with the whole collection when it is not what it was: after an event that changes
                something, or a list that differs. Must not raise.
        """
        while True:
            attempt = _Attempt()
            error: ApiError | None = None
            try:
                await self._follow(attempt, changed)
            except ApiError as raised:
                error = raised
            finally:
                self._connected.set(0)
            await self._pause(attempt, error)

    # --- one attempt

    async def _follow(self, attempt: _Attempt, changed: Callable[[Objects], None]) -> None:
        if self._must_list is not None or not self._has_listed:
            await self._list_again(attempt, changed)
        events = self.api.watch(
            self.collection,
            resource_version=self._version,
            name=self.name,
            labels=self.labels,
            timeout_seconds=max(1, round(self.pace.watch * self.rng.uniform(0.9, 1.1))),
            opened=lambda: self._opened(attempt),
        )
        async with aclosing(events):
            async for event in events:
                self._events.labels(event.type).inc()
                is_news = self._take(event)
                attempt.delivered += 1
                if is_news:
                    changed(self.objects)

    async def _list_again(self, attempt: _Attempt, changed: Callable[[Objects], None]) -> None:
        reason = self._must_list
        before = self._objects if self._has_listed else None
        await self.list()
        if reason is not None:
            self._relists.labels(reason).inc()
        if before is None or _marks(before) != _marks(self._objects):
            attempt.has_listed_news = True
            changed(self.objects)

    def _opened(self, attempt: _Attempt) -> None:
        attempt.opened = self.clock()
        self._connected.set(1)
        if self._has_warned and self._trouble is not None:
            log.info(
                f"the {self.collection.kind}s are watched again",
                after_seconds=round(self.clock() - self._trouble.since, 1),
            )
        self._trouble, self._has_warned = None, False

    def _take(self, event: WatchEvent) -> bool:
        """Take an event over; whether it changes something."""
        name, version = name_of(event.object), version_of(event.object)
        if not version or not (name or event.type == "BOOKMARK"):
            raise BadAnswer(self.api.access.server, "has an event without a name or a version")
        if _is_older(version, self._version):
            self._must_list = "older"
            raise BadAnswer(self.api.access.server, "tells of an older version than before")
        self._version = version
        if event.type == "BOOKMARK":
            return False
        if event.type == "DELETED":
            return self._objects.pop(name, None) is not None
        before = self._objects.get(name)
        self._objects[name] = event.object
        return before is None or _mark(before) != _mark(event.object)

    def _check_list(self, version: str) -> None:
        """A version that goes back is believed only when a second list confirms it, and never without a word."""
        if not _is_older(version, self._version):
            self._is_older_again = False
            return
        if not self._is_older_again:
            self._is_older_again, self._must_list = True, "older"
            raise BadAnswer(self.api.access.server, "lists an older version than before")
        self._is_older_again = False
        log.warn(
            "the Kubernetes API server has gone back to an older state; was etcd restored from a backup?",
            version=version,
            before=self._version,
        )

    # --- between attempts

    async def _pause(self, attempt: _Attempt, error: ApiError | None) -> None:
        lasted = attempt.opened is not None and self.clock() - attempt.opened >= self.pace.proven
        self._failures = 0 if lasted else 1 if attempt.delivered or attempt.has_listed_news else self._failures + 1
        if isinstance(error, Gone):
            self._must_list = "gone"
        elif not attempt.delivered and self._must_list is None:
            # It proves nothing: a server that was restored or replaced may wait for our version for ever.
            self._must_list = "lost"
        if error is None and lasted:
            return  # it ended when it was to end
        if error is not None:
            self._note(error)
        asked = error.retry_after if isinstance(error, ApiRefused) else None
        await self.sleep(self.pace.delay(max(1, self._failures), self.rng, asked))

    def _note(self, error: ApiError) -> None:
        since = self._trouble.since if self._trouble is not None else self.clock()
        self._trouble = Trouble(error=error, since=since)
        if self._failures >= 2 and not self._has_warned:
            self._has_warned = True
            told = diagnose(error)
            log.warn(
                f"the {self.collection.kind}s are not watched at the moment; their last values stay",
                reason=" ".join(filter(None, (told.description, told.cause))),
                action=told.action,
            )


def _is_older(version: str, than: str) -> bool:
    """Whether a version lies before another; versions that are no numbers cannot be compared."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


def _mark(one: Object) -> tuple[object, str]:
    return one.get("metadata", {}).get("uid"), version_of(one)


def _marks(objects: Objects) -> dict[str, tuple[object, str]]:
    return {name: _mark(one) for name, one in objects.items()}
