"""The watch of a ConfigMap by a real process, for minutes, while the API server does everything that it can do wrong.

EGGYCORE_SOAK_SECONDS (240) says for how long. Half of that, and at most two minutes, is the longest stall.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from eggycore_k8s_watch.api import Timeouts
from eggycore_k8s_watch.reflector import Pace
from tests.e2e.conftest import Instance, started
from tests.servers.kubernetes import KubernetesAPI
from tests.soak.following import Line, following

SECONDS = float(os.environ.get("EGGYCORE_SOAK_SECONDS", "240"))
SEED = int(os.environ.get("EGGYCORE_SOAK_SEED", str(random.SystemRandom().randrange(1_000_000))))
LONGEST_STALL = min(120.0, SECONDS / 2)
LONGEST_FAULT = min(10.0, SECONDS / 10)

BOUND = Pace().most + Timeouts().request + 5.0
"""Seconds from the end of a fault to the last state: the longest wait between two attempts, one that was begun too
early, and time to spare."""

WINDOW = 10.0
MOST_REQUESTS = 50
"""In any WINDOW seconds: five a second."""

APPS = Path(__file__).parent / "apps"


class World:
    """An API server, a process that follows its ConfigMap, and all that the process was told."""

    def __init__(self, api: KubernetesAPI, rng: random.Random) -> None:
        self.api = api
        self.rng = rng
        self.written = 0
        self.told: list[int] = []
        self.bad_lines: list[Line] = []
        self._news = asyncio.Event()

    def write(self) -> None:
        """Give the ConfigMap another state."""
        self.written += 1
        self.api.put("configmaps", "shop", "forms", data={"MARK": str(self.written)})

    def delete(self) -> None:
        """Delete the ConfigMap, if it is there."""
        if self.api.list("configmaps", "shop"):
            self.api.delete("configmaps", "shop", "forms")

    def took(self, line: Line) -> None:
        """A line of the process's log."""
        if line["message"] == "told":
            self.told.append(line["mark"])
            self._news.set()
        elif line["level"] in ("error", "fatal"):
            self.bad_lines.append(line)

    async def some_time(self, most: float = LONGEST_FAULT) -> None:
        """The fault lasts."""
        await asyncio.sleep(self.rng.uniform(most / 10, most))

    async def last_state(self) -> float:
        """Wait until the process was told of the last state; the seconds that took."""
        began = time.monotonic()
        async with asyncio.timeout(BOUND):
            while not self.told or self.told[-1] != self.written:
                self._news.clear()
                await self._news.wait()
        return time.monotonic() - began


async def killed(world: World) -> None:
    world.api.stop()
    world.write()
    await world.some_time()
    world.api.start()


async def restarted(world: World) -> None:
    world.api.stop()
    world.api.start()


async def compacted_while_away(world: World) -> None:
    world.api.stop()
    world.write()
    world.api.compact(answer=world.rng.choice(["event", "status"]))
    world.api.start()


async def compacted_under_the_watch(world: World) -> None:
    world.api.compact(answer="event", open_watches=True)


async def stalled(world: World) -> None:
    world.api.stall()
    world.write()
    await world.some_time()
    world.api.resume()


async def stalled_for_long(world: World) -> None:
    world.api.stall()
    world.write()
    await asyncio.sleep(LONGEST_STALL)
    world.write()
    world.api.resume()


async def refusing(world: World) -> None:
    status = world.rng.choice([429, 500, 503])
    world.api.refuse(status, retry_after=world.rng.choice([None, 1, 2]))
    world.api.cut()
    world.write()
    await world.some_time()
    world.api.allow()


async def refusing_to_watch(world: World) -> None:
    status = world.rng.choice([429, 500])
    world.api.refuse(status, match=lambda call: call.verb == "watch")
    world.api.cut()
    world.write()
    await world.some_time()
    world.api.allow()


async def cut(world: World) -> None:
    for _ in range(5):
        world.api.cut()
        world.write()
        await world.some_time(LONGEST_FAULT / 5)


async def cut_in_the_middle_of_an_event(world: World) -> None:
    world.api.cut_mid_line()
    world.write()


async def deleted_and_made_again(world: World) -> None:
    world.delete()
    await world.some_time(LONGEST_FAULT / 5)
    world.write()


async def deleted_while_away(world: World) -> None:
    world.api.stop()
    world.delete()
    world.api.start()
    await world.some_time()
    world.write()


Fault = Callable[[World], Awaitable[None]]
FAULTS: Sequence[Fault] = (
    killed,
    restarted,
    compacted_while_away,
    compacted_under_the_watch,
    stalled,
    refusing,
    refusing_to_watch,
    cut,
    cut_in_the_middle_of_an_event,
    deleted_and_made_again,
    deleted_while_away,
)


@asynccontextmanager
async def watched(api: KubernetesAPI, folder: Path) -> AsyncIterator[tuple[World, Instance]]:
    """A process that follows the ConfigMap shop/forms of this server."""
    world = World(api, random.Random(SEED))
    world.write()
    settings: dict[str, Any] = {
        "ENABLE_K8S_CONFIG_WATCH": "true",
        "K8S_CONFIGMAP_NAME": "forms",
        "K8S_KUBECONFIG": str(api.kubeconfig(folder, namespace="shop")),
        "CONFIG_WATCH": "false",
    }
    async with started("marked_app", "--plugins", "k8s-watch", folder=APPS, **settings) as instance:
        await instance.until("ready")
        async with following(instance, world.took):
            world.write()  # the first state was there before anybody could be told of it
            await world.last_state()
            yield world, instance


async def test_the_last_state_is_always_reached(
    kubernetes_api: KubernetesAPI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[tuple[float, str]] = []
    async with watched(kubernetes_api, tmp_path) as (world, instance):
        until = time.monotonic() + SECONDS
        faults: list[Fault] = [stalled_for_long]
        while time.monotonic() < until:
            if not faults:
                faults = world.rng.sample(FAULTS, len(FAULTS))
                if until - time.monotonic() > 2 * LONGEST_STALL:
                    faults.append(stalled_for_long)
            fault = faults.pop(0)
            await fault(world)
            if world.rng.random() < 0.5:
                world.write()
            try:
                taken.append((await world.last_state(), fault.__name__))
            except TimeoutError:
                pytest.fail(
                    f"after {fault.__name__} it was told {world.told[-1]} and not {world.written} within {BOUND:g} s;"
                    f" EGGYCORE_SOAK_SEED={SEED}"
                )
        assert instance.process.returncode is None, "it has ended"
    requests = [call.at for call in kubernetes_api.requests]
    slowest, after = max(taken)
    with capsys.disabled():
        print(
            f"\n{len(taken)} faults, {world.written} states, {len(world.told)} told; slowest {slowest:.1f} s after"
            f" {after}; at most {most_in_a_window(requests)} requests in {WINDOW:g} s; EGGYCORE_SOAK_SEED={SEED}"
        )
    assert world.told == sorted(set(world.told)), "a stale state came back"
    assert world.bad_lines == []
    assert most_in_a_window(requests) <= MOST_REQUESTS, f"EGGYCORE_SOAK_SEED={SEED}"


def most_in_a_window(times: Sequence[float]) -> int:
    """The most requests in any WINDOW seconds; the times are in order."""
    return max(bisect_left(times, begin + WINDOW) - index for index, begin in enumerate(times))
