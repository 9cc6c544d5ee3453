"""The reflector in a world of random faults: once they are over, it knows exactly what the server has."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from eggycore_k8s_watch.api import ApiClient, Timeouts
from eggycore_k8s_watch.kubeconfig import read_kubeconfig
from eggycore_k8s_watch.objects import CONFIGMAPS
from eggycore_k8s_watch.reflector import Objects, Pace, Reflector
from tests.servers.kubernetes import KubernetesAPI

NAMES = st.sampled_from(["a", "b", "c"])
PATIENCE = 20.0


@contextmanager
def world() -> Iterator[tuple[KubernetesAPI, Path]]:
    with tempfile.TemporaryDirectory() as folder, KubernetesAPI() as server:
        server.bookmark_every(0.05)
        yield server, server.kubeconfig(Path(folder), namespace="shop")


class Faulty(RuleBasedStateMachine):
    """An API server that is written to and that fails, and a reflector that must end up with its state."""

    @initialize()
    def begin(self) -> None:
        self.world = world()
        self.server, kubeconfig = self.world.__enter__()
        self.runner = asyncio.Runner()
        self.told: dict[str, str] = {}
        self.is_stopped = self.is_stalled = self.has_lost = False
        self.number = 0
        self.runner.run(self._open(kubeconfig))

    async def _open(self, kubeconfig: Path) -> None:
        timeouts = Timeouts(connect=0.3, request=0.3, idle=0.3)
        self.api = ApiClient(read_kubeconfig([kubeconfig]), timeouts=timeouts)
        await self.api.__aenter__()
        pace = Pace(least=0.005, first=0.01, most=0.02, proven=0.2, watch=2.0)
        self.reflector = Reflector(api=self.api, collection=CONFIGMAPS, pace=pace, rng=random.Random(1))
        self.task = asyncio.create_task(self.reflector.run(self._take))

    def _take(self, objects: Objects) -> None:
        self.told = _state(objects)

    @rule(name=NAMES)
    def put(self, name: str) -> None:
        self.number += 1
        self.server.put("configmaps", "shop", name, data={"N": str(self.number)})

    @rule(name=NAMES, is_lost=st.booleans())
    def delete(self, name: str, is_lost: bool) -> None:
        if name in self._truth():
            if is_lost:
                self.server.lose_next_delete()
                self.has_lost = True
            self.server.delete("configmaps", "shop", name)

    @rule()
    def stop(self) -> None:
        self._wake_up()
        self.server.stop()
        self.is_stopped = True

    @rule()
    def start(self) -> None:
        self.server.start()
        self.is_stopped = False

    @rule(answer=st.sampled_from(["event", "status"]), open_watches=st.booleans())
    def compact(self, answer: Literal["event", "status"], open_watches: bool) -> None:
        self._wake_up()
        self.server.compact(answer=answer, open_watches=open_watches)

    @rule(mid_line=st.booleans())
    def cut(self, mid_line: bool) -> None:
        self._wake_up()
        if mid_line:
            self.server.cut_mid_line()
        else:
            self.server.cut()

    @rule(status=st.sampled_from([401, 403, 429, 500, 503]), times=st.integers(1, 3))
    def refuse(self, status: int, times: int) -> None:
        self.server.refuse(status, times=times, retry_after=0 if status == 429 else None)

    @rule()
    def stall(self) -> None:
        if not self.is_stopped:
            self.server.stall()
            self.is_stalled = True

    @rule()
    def go_on(self) -> None:
        """Some time passes, in which the reflector does what it does."""
        seen = self.server.resource_version
        self._wait(lambda: int(self.reflector.version or 0) >= seen, 0.05)

    @rule()
    def everything_is_well_again(self) -> None:
        self._wake_up()
        self.server.start()
        self.is_stopped = False
        self.server.allow()
        if self.has_lost:
            # Nothing on the wire tells of a lost deletion; the next list does, whatever leads to it.
            self.server.compact(open_watches=True)
            self.has_lost = False
        seen = self.server.resource_version
        assert self._wait(lambda: int(self.reflector.version or 0) >= seen and self.told == self._truth(), PATIENCE), (
            f"{self.told} is not {self._truth()}; trouble: {self.reflector.trouble}"
        )

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            self.everything_is_well_again()
        finally:
            self.runner.run(self._close())
            self.runner.close()
            self.world.__exit__(None, None, None)

    async def _close(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})
        await self.api.__aexit__(None, None, None)
        assert self.task.cancelled(), self.task.exception()

    def _wake_up(self) -> None:
        if self.is_stalled:
            self.server.resume()
            self.is_stalled = False

    def _truth(self) -> dict[str, str]:
        return _state({one["metadata"]["name"]: one for one in self.server.list("configmaps", "shop")})

    def _wait(self, condition: object, seconds: float) -> bool:
        async def wait() -> bool:
            until = time.monotonic() + seconds
            while not condition():  # type: ignore[operator]  # a function
                if time.monotonic() > until:
                    return False
                await asyncio.sleep(0.002)
            return True

        return self.runner.run(wait())


def _state(objects: Objects) -> dict[str, str]:
    return {name: one["data"]["N"] for name, one in objects.items()}


# The double that is killed while it takes a connection leaves that to the garbage collector, as a killed server does.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
class TestFaulty(Faulty.TestCase):  # type: ignore[name-defined]  # hypothesis makes it
    settings = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
