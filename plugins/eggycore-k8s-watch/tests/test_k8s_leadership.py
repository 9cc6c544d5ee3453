"""Leadership by a Lease, in real runtimes against an API server."""

from __future__ import annotations

import asyncio
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.errors import NotLeader
from eggycore.hookspecs import hookimpl
from eggycore.testing import Running, running
from eggycore.types import Control, Leadership, Restart, Service
from tests.servers.kubernetes import KubernetesAPI

DURATION = 2.0
REAL = os.environ.get("EGGYCORE_TEST_KUBERNETES", "")


@pytest.fixture
def api() -> Iterator[KubernetesAPI]:
    with KubernetesAPI() as server:
        yield server


class Billing:
    """An app with a service that only the leader runs."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.is_running = False

    @hookimpl
    def register_services(self, runtime: Any) -> Service:
        async def run(control: Control) -> None:
            self.tokens.append(runtime.get(Leadership).token)
            self.is_running = True
            await control.stopping.wait()
            self.is_running = False

        return Service(name="bill", run=run, leader_only=True)


class Replicas:
    """Runtimes of one app that contend for one Lease."""

    def __init__(self, api: KubernetesAPI, folder: Path, stack: AsyncExitStack) -> None:
        self.api = api
        self._kubeconfig = api.kubeconfig(folder, namespace="shop")
        self._stack = stack
        self.apps: list[Billing] = []
        self.services: list[Running] = []

    async def start(self, app: object | None = None, **settings: str) -> Running:
        app = Billing() if app is None else app
        service = await self._stack.enter_async_context(
            running(
                app,
                plugins=["k8s-watch"],
                settings={
                    "SERVICE_NAME": "Forms_API",
                    "K8S_KUBECONFIG": str(self._kubeconfig),
                    "K8S_LEADERSHIP": "lease",
                    "K8S_LEASE_DURATION": f"{DURATION:g}s",
                    **settings,
                },
            )
        )
        if isinstance(app, Billing):
            self.apps.append(app)
        self.services.append(service)
        return service

    @property
    def running(self) -> list[Billing]:
        return [app for app in self.apps if app.is_running]

    @property
    def lease(self) -> dict[str, Any]:
        return dict(self.api.get("leases", "shop", "forms-api")["spec"])


@pytest.fixture
async def replicas(api: KubernetesAPI, tmp_path: Path) -> AsyncIterator[Replicas]:
    """Of an app whose Lease is there and was given up, so that the first does not wait a whole duration."""
    api.put("leases", "shop", "forms-api", spec={"holderIdentity": "", "leaseDurationSeconds": 1})
    async with AsyncExitStack() as stack:
        yield Replicas(api, tmp_path, stack)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> float:
    """Wait for it; how long it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
    return time.monotonic() - began


async def test_one_of_several_replicas_leads_and_the_others_are_ready(replicas: Replicas):
    for _ in range(3):
        await replicas.start()
    await until(lambda: replicas.running)
    assert len(replicas.running) == 1
    leading = [one.runtime.get(Leadership).is_leader for one in replicas.services]
    assert leading.count(True) == 1
    leader = replicas.services[leading.index(True)].runtime.get(Leadership)
    lease = replicas.lease
    assert lease["holderIdentity"] == leader.identity
    assert lease["leaseDurationSeconds"] == 2
    assert lease["leaseTransitions"] == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", lease["renewTime"])
    for one in replicas.services:
        async with one.health.get("/readyz") as response:
            assert response.status == 200


async def test_a_replica_that_stops_hands_over_within_a_second_and_the_token_grows(replicas: Replicas):
    first = await replicas.start()
    await until(lambda: replicas.running)
    await replicas.start()
    stopping = asyncio.create_task(first.stop())
    assert await until(lambda: replicas.running == [replicas.apps[1]]) < 1.0
    assert await stopping == 0
    assert replicas.apps[1].tokens[0] > replicas.apps[0].tokens[0]
    assert replicas.lease["leaseTransitions"] == 2


async def test_the_last_replica_gives_the_lease_up(replicas: Replicas):
    service = await replicas.start()
    await until(lambda: replicas.running)
    await service.stop()
    assert (replicas.lease["holderIdentity"], replicas.lease["leaseDurationSeconds"]) == ("", 1)


async def test_the_lease_is_given_up_while_the_drain_delay_still_lasts(replicas: Replicas):
    service = await replicas.start(SHUTDOWN_DRAIN_DELAY="3s")
    await until(lambda: replicas.running)
    stopping = asyncio.create_task(service.stop())
    assert await until(lambda: replicas.lease["holderIdentity"] == "") < 1.0
    assert not stopping.done()
    await stopping


@pytest.mark.parametrize("fault", ["stalled", "killed", "failing"])
async def test_a_leader_that_cannot_renew_steps_down_in_time_and_leads_again(replicas: Replicas, fault: str):
    service = await replicas.start()
    leadership = service.runtime.get(Leadership)
    await until(lambda: replicas.running)
    before = leadership.token
    api = replicas.api
    begin: dict[str, Callable[[], Any]] = {"stalled": api.stall, "killed": api.stop, "failing": lambda: api.refuse(500)}
    end: dict[str, Callable[[], Any]] = {"stalled": api.resume, "killed": api.start, "failing": api.allow}
    begin[fault]()
    assert await until(lambda: not leadership.is_leader) < DURATION * 2 / 3 + 0.1
    with pytest.raises(NotLeader):
        _ = leadership.token
    await until(lambda: not replicas.running)
    end[fault]()
    assert await until(lambda: replicas.running) < DURATION + 2
    assert leadership.token > before
    assert replicas.lease["leaseTransitions"] == 1  # nobody else has held it


async def test_the_answer_to_a_write_that_was_carried_out_is_lost(replicas: Replicas):
    await replicas.start()
    await until(lambda: replicas.running)
    before = list(replicas.apps[0].tokens)
    replicas.api.lose_answers(times=1, match=lambda call: call.method == "PUT")
    version = replicas.api.resource_version
    await until(lambda: replicas.api.resource_version > version + 3)
    assert replicas.apps[0].tokens == before  # the same term goes on


async def test_a_lease_that_is_deleted_is_made_again_and_the_term_goes_on(replicas: Replicas):
    await replicas.start()
    await until(lambda: replicas.running)
    tokens = list(replicas.apps[0].tokens)
    replicas.api.delete("leases", "shop", "forms-api")
    await until(lambda: replicas.api.list("leases", "shop"))
    version = replicas.api.resource_version
    await until(lambda: replicas.api.resource_version > version + 1)
    assert replicas.apps[0].tokens == tokens
    assert len(replicas.running) == 1


async def test_whoever_makes_a_lease_anew_waits_in_case_another_still_leads_by_the_old_one(replicas: Replicas):
    replicas.api.delete("leases", "shop", "forms-api")
    service = await replicas.start()
    made = time.monotonic()
    await until(lambda: replicas.running)
    assert time.monotonic() - made > DURATION * 0.9
    assert service.runtime.get(Leadership).is_leader


async def test_a_name_that_is_written_into_the_lease_by_hand_deposes_the_leader(replicas: Replicas):
    service = await replicas.start()
    leadership = service.runtime.get(Leadership)
    await until(lambda: replicas.running)
    before = leadership.token
    lease = replicas.api.get("leases", "shop", "forms-api")["spec"]
    replicas.api.put("leases", "shop", "forms-api", spec={**lease, "holderIdentity": "bob"})
    await until(lambda: not leadership.is_leader)
    await until(lambda: replicas.running and replicas.apps[0].tokens[-1] > before)
    assert replicas.lease["holderIdentity"] == leadership.identity


async def test_labels_and_what_else_a_lease_holds_stay(replicas: Replicas):
    replicas.api.put("leases", "shop", "forms-api", labels={"team": "billing"}, annotations={"note": "ours"}, spec={})
    await replicas.start()
    await until(lambda: replicas.running)
    metadata = replicas.api.get("leases", "shop", "forms-api")["metadata"]
    assert metadata["labels"] == {"team": "billing"}
    assert metadata["annotations"] == {"note": "ours"}


async def test_a_start_fails_while_the_lease_may_not_be_read_and_says_which_role_is_missing(replicas: Replicas):
    replicas.api.deny("*", "leases")
    with pytest.raises(Exception) as refused:
        await replicas.start(STARTUP_TIMEOUT="0.5s")
    text = render(diagnose(refused.value))
    assert "may not get Lease forms-api in namespace shop" in text
    assert "verbs: [get, update]" in text
    assert "verbs: [create]" in text


async def test_an_app_that_asks_for_no_leadership_contends_for_nothing_until_it_asks(replicas: Replicas):
    replicas.api.deny("*", "leases")
    service = await replicas.start(object())
    assert replicas.api.requests == ()
    async with service.health.get("/readyz") as response:
        assert response.status == 200
    replicas.api.allow()
    leadership = service.runtime.get(Leadership)
    assert not leadership.is_leader
    async with asyncio.timeout(10):
        async with leadership.lead() as term:
            assert leadership.token == term.token
            assert 0 < term.seconds_left() <= DURATION * 0.9


async def test_a_replica_whose_leader_only_service_has_died_leaves_leadership_to_another(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
    class Dying(Billing):
        @hookimpl
        def register_services(self, runtime: Any) -> Service:
            async def run(control: Control) -> None:
                self.tokens.append(runtime.get(Leadership).token)
                raise RuntimeError

            return Service(name="bill", run=run, leader_only=True, critical=False, restart=Restart(when="never"))

    monkeypatch.setattr("eggycore_k8s_watch.leadership.IDLE", 0.3)
    dying = Dying()
    first = await replicas.start(dying)
    await until(lambda: dying.tokens)
    second = await replicas.start()
    await until(lambda: replicas.apps[1].is_running)
    assert not first.runtime.health.red
    assert replicas.apps[1].tokens[0] > dying.tokens[0]
    assert replicas.lease["holderIdentity"] == second.runtime.get(Leadership).identity
    await second.stop()
    assert not first.runtime.get(Leadership).is_leader  # somebody asks again, and it contends again
    await until(lambda: first.runtime.get(Leadership).is_leader)


async def test_who_asks_now_and_then_who_leads_keeps_its_process_contending(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("eggycore_k8s_watch.leadership.IDLE", 0.0)

    class Asking:
        @hookimpl
        def register_services(self, runtime: Any) -> None:
            self.runtime = runtime

    service = await replicas.start(Asking())
    leadership = service.runtime.get(Leadership)
    await until(lambda: leadership.is_leader)
    async with leadership.lead():
        pass
    renewed = replicas.lease["renewTime"]
    await until(lambda: replicas.lease["renewTime"] > renewed)
    assert leadership.is_leader


async def test_health_and_metrics_say_how_it_stands(replicas: Replicas, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("eggycore_k8s_watch.leadership.BRIEF", 0.0)
    service = await replicas.start()
    await until(lambda: replicas.running)
    token = service.runtime.get(Leadership).token
    assert measured(service) == {
        "leadership_is_leader": 1,
        "leadership_token": token,
        "leadership_transitions_total": 1,
    }
    replicas.api.deny("update", "leases")
    await until(lambda: not replicas.running)
    assert measured(service) == {"leadership_is_leader": 0, "leadership_token": 0, "leadership_transitions_total": 2}
    service.runtime.health.look_again("leadership")
    await until(lambda: "the Lease cannot be renewed or watched for" in verdict(service))


async def test_a_holder_that_promises_to_keep_the_lease_for_an_hour_is_waited_for_and_named(replicas: Replicas):
    spec = {"holderIdentity": "bob", "leaseDurationSeconds": 3600}
    replicas.api.put("leases", "shop", "forms-api", spec=spec)
    service = await replicas.start()
    service.runtime.health.look_again("leadership")
    await until(lambda: "bob holds the Lease, by its own word for 3600 s at a time" in verdict(service))
    asked = len(replicas.api.requests)
    await until(lambda: len(replicas.api.requests) > asked + 5)
    assert {call.method for call in replicas.api.requests} == {"GET"}


def measured(service: Running) -> dict[str, float]:
    families = service.runtime.metrics.collect()
    return {one.name: one.samples[0].value for one in families if one.name.startswith("leadership_")}


def verdict(service: Running) -> str:
    report: Any = service.runtime.health.report_dict(verbose=True)
    return str(report["details"]["leadership"])


async def test_a_process_that_is_alone_leads_with_a_token_that_grows_from_start_to_start(tmp_path: Path):
    tokens = []
    for _ in range(2):
        app = Billing()
        async with running(app, plugins=["k8s-watch"]) as service:
            await until(lambda app=app: app.is_running)  # type: ignore[misc]  # the loop's own app
            leadership = service.runtime.get(Leadership)
            assert leadership.is_leader
            assert leadership.token == app.tokens[0]
            assert len(leadership.identity) > 9
            await service.stop()
        assert not app.is_running
        tokens += app.tokens
    assert tokens[0] < tokens[1] < 2**63


@pytest.mark.skipif(not REAL, reason="EGGYCORE_TEST_KUBERNETES names no kubeconfig of a real API server")
async def test_a_real_api_server_takes_its_leases_and_hands_over():
    settings = {
        "K8S_KUBECONFIG": REAL,
        "K8S_LEADERSHIP": "lease",
        "K8S_LEASE_NAME": f"eggycore-test-{uuid.uuid4().hex[:12]}",
        "K8S_LEASE_DURATION": f"{DURATION:g}s",
    }
    first, second = Billing(), Billing()
    async with running(first, plugins=["k8s-watch"], settings=settings) as leader:
        await until(lambda: first.is_running)
        leadership = leader.runtime.get(Leadership)
        token = leadership.token
        async with running(second, plugins=["k8s-watch"], settings=settings):
            ends = time.monotonic() + 2 * DURATION  # what it wrote is what it reads: the term goes on
            await until(lambda: time.monotonic() > ends)
            assert (leadership.token, first.tokens, second.tokens) == (token, [token], [])
            stopping = asyncio.create_task(leader.stop())
            assert await until(lambda: second.is_running) < 1.0
            await stopping
            assert second.tokens[0] > token
