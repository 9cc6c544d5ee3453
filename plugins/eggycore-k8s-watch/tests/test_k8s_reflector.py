"""The reflector against the double: whatever happens to the API server, its last state is reached."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from eggycore.metrics import Registry
from eggycore_k8s_watch.api import ApiClient, Timeouts
from eggycore_k8s_watch.errors import ApiUnreachable, Forbidden
from eggycore_k8s_watch.kubeconfig import read_kubeconfig
from eggycore_k8s_watch.objects import CONFIGMAPS
from eggycore_k8s_watch.reflector import Objects, Pace, Reflector
from tests.servers.kubernetes import KubernetesAPI

QUICK = Pace(least=0.02, first=0.04, most=0.2, proven=0.3)


@pytest.fixture
def server() -> Iterator[KubernetesAPI]:
    with KubernetesAPI() as api:
        api.bookmark_every(0.2)
        api.put("configmaps", "shop", "forms", data={"N": "0"})
        yield api


class Followed:
    """A reflector that runs, and every state that it has told of."""

    def __init__(self, reflector: Reflector, metrics: Registry) -> None:
        self.reflector = reflector
        self.states: list[dict[str, str]] = []
        self._metrics = metrics

    def take(self, objects: Objects) -> None:
        self.states.append(data(objects))

    async def until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < until, f"it never happened; trouble: {self.reflector.trouble}, {self.states[-3:]}"
            await asyncio.sleep(0.005)

    async def until_state(self, **wanted: str) -> None:
        await self.until(lambda: bool(self.states) and self.states[-1] == wanted)

    def metric(self, name: str) -> dict[tuple[str, ...], float]:
        (family,) = (one for one in self._metrics.collect() if one.name == name)
        return {sample.labels: sample.value for sample in family.samples}


def data(objects: Objects) -> dict[str, str]:
    return {name: one["data"]["N"] for name, one in objects.items()}


@asynccontextmanager
async def followed(server: KubernetesAPI, folder: Path, **options: Any) -> AsyncIterator[Followed]:
    """A reflector on the ConfigMaps of the namespace shop that has listed and watches."""
    metrics = Registry()
    timeouts = options.pop("timeouts", Timeouts(request=5.0, idle=10.0))
    async with ApiClient(read_kubeconfig([server.kubeconfig(folder, namespace="shop")]), timeouts=timeouts) as api:
        options = {"pace": QUICK, "rng": random.Random(1), "metrics": metrics} | options
        following = Followed(Reflector(api=api, collection=CONFIGMAPS, **options), metrics)
        following.take(await following.reflector.list())
        task = asyncio.create_task(following.reflector.run(following.take))
        try:
            await following.until(lambda: following.metric("k8s_watch_connected") == {(): 1})
            yield following
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled(), task.exception()


async def test_every_change_is_told_in_order_with_the_whole_state(server: KubernetesAPI, tmp_path: Path) -> None:
    async with followed(server, tmp_path) as following:
        for number in range(1, 20):
            server.put("configmaps", "shop", "forms", data={"N": str(number)})
        server.put("configmaps", "shop", "mails", data={"N": "1"})
        server.delete("configmaps", "shop", "forms")
        await following.until_state(mails="1")
        before = [{"forms": str(number)} for number in range(20)]
        assert following.states == [*before, {"forms": "19", "mails": "1"}, {"mails": "1"}]
        assert following.metric("k8s_watch_events_total")[("MODIFIED",)] == 19


async def test_only_the_named_and_the_selected_are_followed(server: KubernetesAPI, tmp_path: Path) -> None:
    async with followed(server, tmp_path, labels="app=forms") as following:
        assert following.states == [{}]
        server.put("configmaps", "shop", "mine", data={"N": "1"}, labels={"app": "forms"})
        await following.until_state(mine="1")
        server.put("configmaps", "shop", "mine", data={"N": "1"}, labels={"app": "other"})
        await following.until_state()
    async with followed(server, tmp_path, name="forms") as following:
        server.put("configmaps", "shop", "forms", data={"N": "1"})
        await following.until_state(forms="1")
        assert all(state.keys() == {"forms"} for state in following.states)


async def test_more_objects_than_a_page_has_are_all_listed(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ApiClient.list.__kwdefaults__, "limit", 3)
    for number in range(10):
        server.put("configmaps", "shop", f"c{number}", data={"N": "1"})
    async with followed(server, tmp_path) as following:
        assert len(following.states[0]) == 11


async def test_a_server_that_is_killed_and_restarted_is_caught_up_with(server: KubernetesAPI, tmp_path: Path) -> None:
    async with followed(server, tmp_path) as following:
        for number in range(1, 4):
            await asyncio.to_thread(server.stop)
            server.put("configmaps", "shop", "forms", data={"N": str(number)})
            await following.until(lambda: following.reflector.trouble is not None)
            assert following.metric("k8s_watch_connected") == {(): 0}
            await asyncio.to_thread(server.start)
            await following.until_state(forms=str(number))
            await following.until(lambda: following.metric("k8s_watch_connected") == {(): 1})
        assert following.reflector.trouble is None


@pytest.mark.parametrize("answer", ["event", "status"])
@pytest.mark.parametrize("open_watches", [True, False])
async def test_a_compacted_history_leads_to_a_list_that_shows_what_was_deleted(
    server: KubernetesAPI, tmp_path: Path, answer: Any, open_watches: bool
) -> None:
    server.put("configmaps", "shop", "gone", data={"N": "0"})
    async with followed(server, tmp_path) as following:
        await asyncio.to_thread(server.stop)
        server.delete("configmaps", "shop", "gone")
        server.put("configmaps", "shop", "forms", data={"N": "1"})
        server.compact(answer=answer)
        await asyncio.to_thread(server.start)
        await following.until_state(forms="1")
        if open_watches:
            await following.until(lambda: following.metric("k8s_watch_connected") == {(): 1})
            await asyncio.to_thread(server.compact, answer=answer, open_watches=True)
            await following.until(lambda: ("gone",) in following.metric("k8s_watch_relists_total"))
        server.put("configmaps", "shop", "forms", data={"N": "2"})
        await following.until_state(forms="2")


async def test_a_resumed_watch_whose_version_is_gone_is_a_relist(server: KubernetesAPI, tmp_path: Path) -> None:
    async with followed(server, tmp_path) as following:
        server.put("configmaps", "shop", "forms", data={"N": "1"})
        await following.until_state(forms="1")  # something was delivered, so it resumes
        server.delay(0.3, match=lambda call: call.verb == "watch")
        await asyncio.to_thread(server.cut)
        server.put("configmaps", "shop", "forms", data={"N": "2"})
        server.compact(answer="status")
        server.allow()
        await following.until_state(forms="2")
        await following.until(lambda: following.metric("k8s_watch_relists_total").get(("gone",)) == 1)


async def test_a_half_open_connection_is_dropped_at_the_idle_limit(server: KubernetesAPI, tmp_path: Path) -> None:
    impatient = Timeouts(connect=1.0, request=1.0, idle=0.6)
    async with followed(server, tmp_path, timeouts=impatient) as following:
        server.stall()
        await following.until(lambda: following.reflector.trouble is not None)
        trouble = following.reflector.trouble
        assert trouble is not None
        assert isinstance(trouble.error, ApiUnreachable)
        assert trouble.error.reason == "sent nothing for 0.6 s"
        server.put("configmaps", "shop", "forms", data={"N": "1"})
        server.resume()
        await following.until_state(forms="1")


async def test_a_lost_deletion_is_noticed_when_the_watch_has_to_begin_anew(
    server: KubernetesAPI, tmp_path: Path
) -> None:
    server.put("configmaps", "shop", "gone", data={"N": "0"})
    async with followed(server, tmp_path) as following:
        server.lose_next_delete()
        server.delete("configmaps", "shop", "gone")
        server.put("configmaps", "shop", "forms", data={"N": "1"})
        await following.until_state(forms="1", gone="0")  # nobody has told
        await asyncio.to_thread(server.compact, open_watches=True)
        await following.until_state(forms="1")


async def test_a_watch_that_delivers_nothing_is_not_believed(server: KubernetesAPI, tmp_path: Path) -> None:
    """No bookmark, and the server ends it when asked to: the deletion that it has not told of shows in the list."""
    server.put("configmaps", "shop", "gone", data={"N": "0"})
    server.bookmark_every(60)
    wait = Timeouts(connect=1.0, request=1.0, idle=30)
    async with followed(server, tmp_path, timeouts=wait, pace=Pace(least=0.02, first=0.04, watch=1.0)) as following:
        server.lose_next_delete()
        server.delete("configmaps", "shop", "gone")
        await following.until_state(forms="0")


async def test_bookmarks_carry_a_quiet_watch_over_a_compaction(server: KubernetesAPI, tmp_path: Path) -> None:
    async with followed(server, tmp_path) as following:
        server.put("leases", "shop", "other", spec={})  # the version goes on, though nothing that is followed changes
        server.compact()
        version = server.resource_version
        await following.until(lambda: int(following.reflector.version) >= version)
        await asyncio.to_thread(server.cut)
        await following.until(lambda: following.metric("k8s_watch_connected") == {(): 1})
        server.put("configmaps", "shop", "forms", data={"N": "1"})
        await following.until_state(forms="1")
        assert following.metric("k8s_watch_relists_total") == {}


async def test_a_connection_that_is_cut_in_the_middle_of_an_event_is_resumed(
    server: KubernetesAPI, tmp_path: Path
) -> None:
    async with followed(server, tmp_path) as following:
        for number in range(1, 4):
            await following.until(lambda: following.metric("k8s_watch_connected") == {(): 1})
            await asyncio.to_thread(server.cut_mid_line)
            server.put("configmaps", "shop", "forms", data={"N": str(number)})
            await following.until_state(forms=str(number))


async def test_a_slow_trickle_arrives(server: KubernetesAPI, tmp_path: Path) -> None:
    async with followed(server, tmp_path) as following:
        server.trickle(50, 0.05)
        server.put("configmaps", "shop", "forms", data={"N": "x" * 500})
        await following.until_state(forms="x" * 500)
        assert following.metric("k8s_watch_relists_total") == {}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_refuses_is_asked_as_seldom_as_it_asks(
    server: KubernetesAPI, tmp_path: Path, status: int
) -> None:
    async with followed(server, tmp_path) as following:
        server.refuse(status, times=2, retry_after=1)
        await asyncio.to_thread(server.cut)
        server.put("configmaps", "shop", "forms", data={"N": "1"})
        await following.until_state(forms="1")
        refused = [call.at for call in server.requests if call.status == status]
        after = [call.at for call in server.requests if call.at > refused[-1]]
        assert len(refused) == 2
        assert all(later - earlier >= 1 for earlier, later in zip([*refused], [*refused[1:], after[0]], strict=True))


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_no_refusal_is_answered_with_a_storm(server: KubernetesAPI, tmp_path: Path, status: int) -> None:
    async with followed(server, tmp_path, pace=Pace()) as following:
        server.refuse(status, retry_after=0 if status == 429 else None)
        await asyncio.to_thread(server.cut)
        await following.until(lambda: sum(call.status == status for call in server.requests) >= 3)
        times = [call.at for call in server.requests if call.status == status]
        assert all(later - earlier >= 0.49 for earlier, later in pairwise(times))


async def test_what_is_forbidden_is_followed_again_once_a_role_allows_it(server: KubernetesAPI, tmp_path: Path) -> None:
    async with followed(server, tmp_path) as following:
        server.deny("watch", "configmaps")
        await asyncio.to_thread(server.cut)
        server.put("configmaps", "shop", "forms", data={"N": "1"})
        await following.until_state(forms="1")  # listing is allowed
        await following.until(
            lambda: following.reflector.trouble is not None and isinstance(following.reflector.trouble.error, Forbidden)
        )
        server.allow()
        server.put("configmaps", "shop", "forms", data={"N": "2"})
        await following.until_state(forms="2")


async def test_an_outage_is_said_once_and_so_is_its_end(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("eggycore.log.warn", lambda text, **fields: said.append((text, fields)))
    monkeypatch.setattr("eggycore.log.info", lambda text, **fields: said.append((text, fields)))
    async with followed(server, tmp_path) as following:
        await asyncio.to_thread(server.cut)
        await following.until(lambda: following.metric("k8s_watch_connected") == {(): 1})
        assert said == []  # one cut is nothing
        await asyncio.to_thread(server.stop)
        seen = len(server.requests)
        await following.until(lambda: bool(said))
        await asyncio.to_thread(server.start)
        await following.until(lambda: len(said) == 2 and len(server.requests) > seen)
    assert [text for text, _ in said] == [
        "the ConfigMaps are not watched at the moment; their last values stay",
        "the ConfigMaps are watched again",
    ]
    assert said[0][1] == {
        "reason": f"The Kubernetes API server {server.url} cannot be reached. It refused the connection.",
        "action": "Look whether it runs and whether a NetworkPolicy lets this process reach it.",
    }
