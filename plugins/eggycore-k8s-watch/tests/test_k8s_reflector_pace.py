"""How often the reflector asks, and what it believes: on a clock that only its waiting moves."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eggycore.testing import FakeClock
from eggycore_k8s_watch.api import ApiClient, EventType, ListPage, WatchEvent
from eggycore_k8s_watch.errors import (
    ApiError,
    ApiFailed,
    ApiUnreachable,
    BadAnswer,
    Gone,
    TooManyRequests,
)
from eggycore_k8s_watch.objects import CONFIGMAPS, Object
from eggycore_k8s_watch.reflector import Objects, Pace, Reflector

REFUSED = ApiUnreachable("http://k", "refused the connection")
GONE = Gone("http://k", 410)
BUSY = TooManyRequests("http://k", 429, retry_after=1.0)
FAILED = ApiFailed("http://k", 500)

Watch = Callable[[], Iterator[WatchEvent | ApiError | float]]
"""What a watch brings: events, an error that ends it, seconds that pass."""


def configmap(version: int | str, name: str = "forms", uid: str = "u") -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version), "uid": uid}}


def event(kind: EventType, version: int | str, name: str = "forms") -> WatchEvent:
    one = configmap(version, name) if kind != "BOOKMARK" else {"metadata": {"resourceVersion": str(version)}}
    return WatchEvent(kind, one)


class Over(Exception):
    """The time of the test is over."""


class World:
    """An API server of which a test decides every answer, and the time."""

    def __init__(self, *, seconds: float = 120.0, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.asked: list[tuple[float, str]] = []
        self.lists: deque[ListPage | ApiError] = deque()
        self.watches: deque[Watch] = deque()
        self.every_list: ListPage | ApiError = ListPage(items=(configmap(10),), resource_version="10")
        self.every_watch: Watch = lambda: iter(())
        self.access = SimpleNamespace(server="http://k")
        self._seconds = seconds
        self.told: list[Objects] = []
        self.reflector = Reflector(
            api=cast(ApiClient, self),
            collection=CONFIGMAPS,
            rng=random.Random(seed),
            clock=self.clock,
            sleep=self.pass_time,
        )

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.clock() > self._seconds:
            raise Over

    async def list(self, *_: Any, **__: Any) -> ListPage:
        self.asked.append((self.clock(), "list"))
        answer = self.lists.popleft() if self.lists else self.every_list
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def watch(
        self, *_: Any, resource_version: str, opened: Callable[[], None], **__: Any
    ) -> AsyncGenerator[WatchEvent, None]:
        self.asked.append((self.clock(), f"watch {resource_version}"))
        watch = self.watches.popleft() if self.watches else self.every_watch
        is_open = False
        for one in watch():
            if isinstance(one, ApiError):
                raise one
            if not is_open:
                is_open = True
                opened()
            if isinstance(one, WatchEvent):
                yield one
            else:
                await self.pass_time(one)
        if not is_open:
            opened()

    def run(self) -> None:
        """Follow until the time is over."""
        with pytest.raises(Over):
            asyncio.run(self.reflector.run(self.told.append))

    @property
    def rate(self) -> int:
        """The most requests in any second."""
        times = [at for at, _ in self.asked]
        return max(sum(start <= at < start + 1 for at in times) for start in times)


def watch(*steps: WatchEvent | ApiError | float) -> Watch:
    return lambda: iter(steps)


@pytest.mark.parametrize(
    ("lists", "watches"),
    [
        (REFUSED, watch()),
        (BUSY, watch()),
        (FAILED, watch()),
        (None, watch()),  # ends at once
        (None, watch(REFUSED)),
        (None, watch(GONE)),
        (None, watch(BUSY)),
        (None, watch(FAILED)),
        (None, watch(BadAnswer("http://k", "is no JSON"))),
        (None, watch(event("BOOKMARK", 10))),  # ends at once with something delivered, which is believed
        (None, watch(event("BOOKMARK", 10), GONE)),
        (None, watch(event("BOOKMARK", 10), REFUSED)),
        (None, watch(event("BOOKMARK", 5))),
        (None, watch(event("MODIFIED", ""))),
        (None, watch(4.9, GONE)),
        (None, watch(5.1, REFUSED)),
    ],
)
def test_no_fault_makes_it_ask_more_than_a_handful_of_times_a_second(
    lists: ApiError | None, watches: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore.log.warn", lambda *_, **__: None)
    for seed in range(20):
        world = World(seed=seed)
        if lists is not None:
            world.every_list = lists
        world.every_watch = watches
        world.run()
        assert len(world.asked) > 5
        assert world.rate <= 5


def test_waiting_grows_with_every_failure_and_begins_anew_after_a_watch_that_lasted() -> None:
    pace = Pace()
    rng = random.Random(1)
    longest = [max(pace.delay(failures, rng) for _ in range(500)) for failures in range(1, 10)]
    assert [round(seconds) for seconds in longest] == [1, 2, 4, 8, 15, 15, 15, 15, 15]
    assert min(pace.delay(9, rng) for _ in range(500)) < 1  # full jitter: replicas do not come back together
    assert all(pace.delay(1, rng) >= 0.5 for _ in range(500))
    world = World(seconds=10_000)
    world.lists = deque([world.every_list, *[REFUSED] * 8])  # type: ignore[list-item]  # a ListPage
    world.watches = deque([watch(REFUSED), watch(event("BOOKMARK", 10), 6.0, REFUSED), watch(5000.0, 5000.0)])
    world.run()
    times = [at for at, _ in world.asked]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps[2:9]) > 2
    assert gaps[10] - 6.0 <= 1.0


def test_the_server_s_wish_is_respected_and_replicas_do_not_return_together() -> None:
    waits = [Pace().delay(1, random.Random(seed), at_least=10.0) for seed in range(100)]
    assert min(waits) >= 10
    assert max(waits) <= 11
    assert len(set(waits)) == 100


def test_a_watch_is_resumed_from_the_last_version_and_not_listed_again() -> None:
    world = World(seconds=30)
    world.watches = deque(
        [
            watch(event("MODIFIED", 11), event("BOOKMARK", 15), 6.0),
            watch(event("BOOKMARK", 20), REFUSED),
            watch(60.0),
        ]
    )
    world.run()
    assert [what for _, what in world.asked] == ["list", "watch 10", "watch 15", "watch 20"]
    assert world.asked[2][0] == 6.0  # it had lasted, so there is nothing to wait for


def test_a_watch_that_could_not_be_resumed_is_a_new_list() -> None:
    world = World(seconds=30)
    world.every_list = ListPage(items=(configmap(12),), resource_version="12")
    world.watches = deque([watch(event("MODIFIED", 13), REFUSED), watch(REFUSED), watch(60.0)])
    world.lists = deque([world.every_list, ListPage(items=(configmap(14),), resource_version="14")])
    world.run()
    assert [what for _, what in world.asked] == ["list", "watch 12", "watch 13", "list", "watch 14"]


def test_an_object_without_news_is_not_told_again() -> None:
    world = World(seconds=30)
    world.watches = deque([watch(event("ADDED", 10), event("MODIFIED", 11), event("DELETED", 12, "other"), 60.0)])
    world.run()
    assert [{name: one["metadata"]["resourceVersion"] for name, one in state.items()} for state in world.told] == [
        {"forms": "10"},
        {"forms": "11"},
    ]


def test_an_event_of_an_older_version_is_not_taken_over() -> None:
    world = World(seconds=30)
    world.watches = deque([watch(event("MODIFIED", 20), event("MODIFIED", 15), 60.0), watch(60.0)])
    world.lists = deque([world.every_list, ListPage(items=(configmap(20),), resource_version="21")])  # type: ignore[list-item]  # a ListPage
    world.run()
    assert [what for _, what in world.asked] == ["list", "watch 10", "list", "watch 21"]
    assert [state["forms"]["metadata"]["resourceVersion"] for state in world.told] == ["10", "20"]


def test_an_older_list_counts_only_when_a_second_one_confirms_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("eggycore.log.warn", lambda text, **fields: said.append((text, fields)))
    older = ListPage(items=(configmap(3),), resource_version="5")
    world = World(seconds=30)
    world.watches = deque([watch(GONE), watch(60.0)])
    world.lists = deque([world.every_list, older, ListPage(items=(configmap(11),), resource_version="12")])  # type: ignore[list-item]  # a ListPage
    world.run()
    assert [state["forms"]["metadata"]["resourceVersion"] for state in world.told] == ["10", "11"]
    assert said == [] or "gone back" not in said[0][0]

    world = World(seconds=30)
    world.watches = deque([watch(GONE), watch(60.0)])
    world.lists = deque([world.every_list, older, older])  # type: ignore[list-item]  # a ListPage
    world.run()
    assert [state["forms"]["metadata"]["resourceVersion"] for state in world.told] == ["10", "3"]
    assert said[-1] == (
        "the Kubernetes API server has gone back to an older state; was etcd restored from a backup?",
        {"version": "5", "before": "10"},
    )


def test_a_list_without_a_version_is_not_believed() -> None:
    world = World(seconds=10)
    world.every_list = ListPage(items=(), resource_version="")
    world.run()
    assert world.told == []
    trouble = world.reflector.trouble
    assert trouble is not None
    assert isinstance(trouble.error, BadAnswer)
    assert trouble.error.reason == "lists without saying of which version"


def test_pages_that_are_too_old_are_listed_from_the_first_one() -> None:
    world = World(seconds=30)
    first = ListPage(items=(configmap(10, "a"),), resource_version="10", more="token")
    last = ListPage(items=(configmap(11, "b"),), resource_version="12")
    world.lists = deque([first, GONE, ListPage(items=(configmap(10, "a"),), resource_version="12", more="t"), last])
    world.watches = deque([watch(60.0)])
    world.run()
    assert [sorted(state) for state in world.told] == [["a", "b"]]
    assert [what for _, what in world.asked] == ["list", "list", "list", "list", "watch 12"]


def test_versions_that_are_no_numbers_are_believed() -> None:
    world = World(seconds=30)
    world.every_list = ListPage(items=(configmap("b"),), resource_version="b")
    world.watches = deque([watch(event("MODIFIED", "a"), 60.0)])
    world.run()
    assert [state["forms"]["metadata"]["resourceVersion"] for state in world.told] == ["b", "a"]


def test_a_server_that_flaps_is_not_waited_for_longer_each_time_while_its_lists_bring_news() -> None:
    world = World(seconds=60)
    newer = iter(range(11, 10_000))

    def reset() -> Iterator[WatchEvent | ApiError]:
        version = next(newer)
        world.every_list = ListPage(items=(configmap(version),), resource_version=str(version))
        yield GONE

    world.every_watch = reset
    world.run()
    times = [at for at, what in world.asked if what == "list"]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 1.0
    assert world.rate <= 5
