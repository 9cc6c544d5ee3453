"""What is wrong with the API server of the tests at the moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

GoneAnswer = Literal["event", "status"]
"""How a watch from a version that is too old is refused: an ERROR event in a 200, or the HTTP status 410."""


@dataclass(kw_only=True)
class Call:
    """One request, as the server saw it.

    Attributes:
        at: When it arrived; seconds of time.monotonic().
        verb: get, list, watch, create, update or delete; the method's name for a path that is not of an object.
        resource: The plural; empty for a path that is not of an object.
        user: Who asked; empty when it is not known.
        status: Of the answer; None as long as there is none.
    """

    at: float
    method: str
    path: str
    query: Mapping[str, str]
    verb: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    user: str = ""
    status: int | None = None


Match = Callable[[Call], bool]


def every(call: Call) -> bool:
    """Any request."""
    return True


@dataclass(kw_only=True)
class Refusal:
    """Answer with this status instead of doing what is asked."""

    status: int
    match: Match
    retry_after: int | None
    left: int | None


@dataclass(kw_only=True)
class Faults:
    """Read by the server's thread, set by the test's: nothing here is changed in place but what `lock` guards."""

    refusals: tuple[Refusal, ...] = ()
    delays: tuple[tuple[float, Match], ...] = ()
    lost_answers: tuple[Refusal, ...] = ()
    denied: frozenset[tuple[str, str]] = frozenset()
    tokens: Collection[str] | None = None
    users: dict[str, str] = field(default_factory=dict)
    gone: GoneAnswer = "event"
    bookmark_every: float | None = None
    trickle: tuple[int, float] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def refusal(self, call: Call) -> Refusal | None:
        """The refusal that this request gets, counted down."""
        return self._counted(self.refusals, call)

    def loses_answer(self, call: Call) -> bool:
        """Whether this request is carried out and its answer never arrives."""
        return self._counted(self.lost_answers, call) is not None

    def denies(self, call: Call) -> bool:
        """Whether RBAC keeps it from what it asks."""
        return any(verb in ("*", call.verb) and resource in ("*", call.resource) for verb, resource in self.denied)

    async def hold_back(self, call: Call) -> None:
        """Wait as long as this request has to."""
        seconds = max((seconds for seconds, match in self.delays if match(call)), default=0.0)
        if seconds:
            await asyncio.sleep(seconds)

    def _counted(self, refusals: tuple[Refusal, ...], call: Call) -> Refusal | None:
        with self.lock:
            for each in refusals:
                if each.left != 0 and each.match(call):
                    if each.left is not None:
                        each.left -= 1
                    return each
        return None
