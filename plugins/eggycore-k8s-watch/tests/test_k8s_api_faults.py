"""The client of the API server: how long it waits, and what its errors say."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import aclosing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from eggycore.diagnostics import diagnose
from eggycore_k8s_watch.access import find_access
from eggycore_k8s_watch.api import ApiClient
from eggycore_k8s_watch.errors import (
    ApiError,
    ApiFailed,
    ApiRefused,
    ApiUnreachable,
    BadAnswer,
    Forbidden,
    Gone,
    NotFound,
    TooManyRequests,
)
from eggycore_k8s_watch.objects import CONFIGMAPS, LEASES
from tests.servers.certificates import Certificates
from tests.servers.kubernetes import KubernetesAPI
from tests.servers.ports import reserved_port
from tests.servers.processes import binary

kit = import_module("plugins.eggycore-k8s-watch.tests.api_world")
QUICK, client, answering, to, message = kit.QUICK, kit.client, kit.answering, kit.to, kit.message


@pytest.fixture
def server() -> Iterator[KubernetesAPI]:
    with KubernetesAPI() as api:
        yield api


async def test_403_is_explained_with_the_role_to_apply(
    certificates: Certificates, folder: Path, tmp_path: Path
) -> None:
    with KubernetesAPI(certificates) as server:
        pod = server.service_account(folder)
        server.deny("list", "configmaps")
        access = find_access(environ=pod.environ, account=folder, home=tmp_path)
        async with ApiClient(access) as api:
            with pytest.raises(Forbidden) as refused:
                await api.list(CONFIGMAPS, name="forms")
    assert message(refused.value) == (
        "The ServiceAccount forms of namespace shop may not list ConfigMap forms in namespace shop.\n"
        '  cause:  It says: configmaps "forms" is forbidden: User "system:serviceaccount:shop:forms" cannot list'
        ' resource "configmaps" in API group "" in the namespace "shop".\n'
        "  action: Allow it, with kubectl apply -f FILE and this in the file:\n"
        "    apiVersion: rbac.authorization.k8s.io/v1\n"
        "    kind: Role\n"
        "    metadata: {name: eggycore-configmaps, namespace: shop}\n"
        "    rules:\n"
        '    - {apiGroups: [""], resources: [configmaps], resourceNames: [forms], verbs: [get, list, watch]}\n'
        "    ---\n"
        "    apiVersion: rbac.authorization.k8s.io/v1\n"
        "    kind: RoleBinding\n"
        "    metadata: {name: eggycore-configmaps, namespace: shop}\n"
        "    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: eggycore-configmaps}\n"
        "    subjects: [{kind: ServiceAccount, name: forms, namespace: shop}]"
    )


async def test_a_role_for_a_lease_lets_it_be_made_too(server: KubernetesAPI, tmp_path: Path) -> None:
    server.deny("*", "leases")
    server.know("t", "me")
    async with client(server, tmp_path, token="t") as api:
        with pytest.raises(Forbidden) as refused:
            await api.get(LEASES, "forms")
    action = diagnose(refused.value).action
    assert (
        '    - {apiGroups: ["coordination.k8s.io"], resources: [leases], resourceNames: [forms],'
        " verbs: [get, update]}\n"
        '    - {apiGroups: ["coordination.k8s.io"], resources: [leases], verbs: [create]}\n'
    ) in action
    assert 'subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "me"}]' in action


async def test_kubectl_takes_the_role(tmp_path: Path) -> None:
    from eggycore_k8s_watch.roles import role_for

    file = tmp_path / "role.yaml"
    file.write_text(role_for(LEASES, namespace="shop", name="forms", user="system:serviceaccount:shop:forms"))
    kubectl = await asyncio.create_subprocess_exec(
        *(
            binary("kubectl", "kubernetes-client"),
            "auth",
            "reconcile",
            "--dry-run=client",
            "--kubeconfig=/dev/null",
            "-f",
            str(file),
        ),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await kubectl.communicate()
    # It reads both objects, and only then finds that there is no server to ask.
    assert b"refused" in said or b"no configuration" in said or kubectl.returncode == 0, said.decode()


async def test_404_429_5xx_and_the_rest_are_told_apart(server: KubernetesAPI, tmp_path: Path) -> None:
    async with client(server, tmp_path) as api:
        with pytest.raises(NotFound) as missing:
            await api.get(CONFIGMAPS, "forms")
        server.refuse(429, times=1, retry_after=7)
        with pytest.raises(TooManyRequests) as busy:
            await api.get(CONFIGMAPS, "forms")
        server.refuse(500, times=1)
        with pytest.raises(ApiFailed) as failed:
            await api.get(CONFIGMAPS, "forms")
        with pytest.raises(ApiRefused) as wrong:
            await api.list(CONFIGMAPS, labels="a in (")
    assert message(missing.value) == (
        "There is no ConfigMap forms in namespace shop.\n"
        '  cause:  It says: configmaps "forms" not found.\n'
        "  action: Create it, or correct the name and the namespace."
    )
    assert busy.value.retry_after == 7
    assert message(busy.value) == (
        "The Kubernetes API server answers 429: it has too many requests.\n"
        "  cause:  It says: Too many requests, please try again later. It asks to wait 7 s.\n"
        "  action: Wait; look at its priority levels and flow schemas if it lasts."
    )
    assert re.fullmatch(
        r"The Kubernetes API server failed with 500 \(\w+\) to get ConfigMap forms in namespace shop\.\n"
        r"  cause:  It says: .+\.\n"
        r"  action: Look at the health of the API server and of its etcd: kubectl get --raw '/readyz\?verbose'",
        message(failed.value),
    )
    assert wrong.value.status == 400


@pytest.mark.parametrize("answer", ["event", "status"])
async def test_410_is_gone_whichever_way_it_comes(server: KubernetesAPI, tmp_path: Path, answer: Any) -> None:
    server.put("configmaps", "shop", "forms")
    async with client(server, tmp_path) as api:
        version = (await api.list(CONFIGMAPS)).resource_version
        server.put("configmaps", "shop", "forms", data={"A": "1"})
        server.compact(answer=answer)
        with pytest.raises(Gone) as gone:
            async with aclosing(api.watch(CONFIGMAPS, resource_version=version)) as watch:
                await anext(watch)
    assert gone.value.status == 410
    description = diagnose(gone.value).description
    assert description == (
        "The Kubernetes API server no longer has the history of ConfigMaps in namespace shop that was asked for."
    )


async def test_a_server_that_is_not_there_refuses(tmp_path: Path) -> None:
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        async with to(url, tmp_path) as api:
            with pytest.raises(ApiUnreachable) as refused:
                await api.list(CONFIGMAPS)
    assert message(refused.value) == (
        f"The Kubernetes API server {url} cannot be reached.\n"
        "  cause:  It refused the connection.\n"
        "  action: Look whether it runs and whether a NetworkPolicy lets this process reach it."
    )


async def test_a_stalled_server_is_waited_for_as_long_as_it_may_take(server: KubernetesAPI, tmp_path: Path) -> None:
    async with client(server, tmp_path, timeouts=QUICK) as api:
        version = (await api.list(CONFIGMAPS)).resource_version
        server.stall()
        began = time.monotonic()
        with pytest.raises(ApiUnreachable, match="cannot be reached") as slow:
            await api.list(CONFIGMAPS)
        with pytest.raises(ApiUnreachable) as slower:
            await api.list(CONFIGMAPS, timeout=0.2)
        with pytest.raises(ApiUnreachable) as watch:
            await asyncio.wait_for(anext(api.watch(CONFIGMAPS, resource_version=version)), 5)
        assert time.monotonic() - began < 4
        server.resume()
    assert slow.value.reason == "did not answer within 0.5 s"
    assert slower.value.reason == "did not answer within 0.2 s"
    assert watch.value.reason == "did not answer within 0.5 s"


async def test_a_watch_in_which_nothing_arrives_is_given_up(server: KubernetesAPI, tmp_path: Path) -> None:
    async with client(server, tmp_path, timeouts=QUICK) as api:
        version = (await api.list(CONFIGMAPS)).resource_version
        with pytest.raises(ApiUnreachable) as silent:
            await asyncio.wait_for(anext(api.watch(CONFIGMAPS, resource_version=version)), 5)
        server.bookmark_every(0.1)
        async with aclosing(api.watch(CONFIGMAPS, resource_version=version)) as watch:
            kinds = [(await anext(watch)).type for _ in range(10)]  # for longer than the idle limit
    assert silent.value.reason == "sent nothing for 0.5 s"
    assert kinds == ["BOOKMARK"] * 10


async def test_a_slow_trickle_is_no_silence_and_ends_in_time_all_the_same(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore_k8s_watch.api.WATCH_GRACE", 0.2)
    async with client(server, tmp_path, timeouts=QUICK) as api:
        version = (await api.list(CONFIGMAPS)).resource_version
        server.trickle(1, 0.1)
        server.put("configmaps", "shop", "forms", data={"A": "x" * 100})
        began = time.monotonic()
        with pytest.raises(ApiUnreachable) as endless:
            await asyncio.wait_for(anext(api.watch(CONFIGMAPS, resource_version=version, timeout_seconds=1)), 5)
        assert 1 <= time.monotonic() - began < 3
    assert endless.value.reason == "did not end the watch when it was to"


async def test_a_connection_that_is_cut_says_so(server: KubernetesAPI, tmp_path: Path) -> None:
    async with client(server, tmp_path) as api:
        version = (await api.list(CONFIGMAPS)).resource_version
        for cut in (server.cut, server.stop):
            opened = asyncio.Event()
            async with aclosing(api.watch(CONFIGMAPS, resource_version=version, opened=opened.set)) as watch:
                event = asyncio.ensure_future(anext(watch))
                await asyncio.wait_for(opened.wait(), 5)
                await asyncio.to_thread(cut)
                with pytest.raises(ApiUnreachable) as lost:
                    await event
            assert lost.value.reason == "cut the connection"


async def test_a_watch_that_is_cut_in_the_middle_of_an_event_is_no_event(server: KubernetesAPI, tmp_path: Path) -> None:
    async with client(server, tmp_path) as api:
        version = (await api.list(CONFIGMAPS)).resource_version
        opened = asyncio.Event()
        async with aclosing(api.watch(CONFIGMAPS, resource_version=version, opened=opened.set)) as watch:
            event = asyncio.ensure_future(anext(watch))
            await asyncio.wait_for(opened.wait(), 5)
            await asyncio.to_thread(server.cut_mid_line)
            server.put("configmaps", "shop", "forms", data={"A": "1"})
            with pytest.raises(ApiError) as torn:
                await event
    assert isinstance(torn.value, ApiUnreachable)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>hunter2</html>", "is no JSON"),
        (b"[]", "is no JSON object"),
        (b'{"items": 7}', "is no list of objects"),
        (b'{"items": [7]}', "is no list of objects"),
    ],
)
async def test_an_answer_of_something_else_is_told_without_quoting_it(tmp_path: Path, body: bytes, reason: str) -> None:
    async with answering(body) as url, to(url, tmp_path) as api:
        with pytest.raises(BadAnswer) as bad:
            await api.list(CONFIGMAPS)
    assert message(bad.value) == (
        f"What answers at {url} does not answer as a Kubernetes API server.\n"
        f"  cause:  The answer {reason}.\n"
        "  action: Look whether a proxy or another server stands in between."
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>\n", "is no JSON"),
        (b'{"type": "ADDED"}\n', "has an event without an object"),
        (b'{"type": "MOVED", "object": {}}\n', "has an event of an unknown type"),
        (b"x" * 8_388_609, "has a line of more than 8 MiB"),
    ],
)
async def test_a_watch_of_something_else_is_told(tmp_path: Path, body: bytes, reason: str) -> None:
    async with answering(body) as url, to(url, tmp_path) as api:
        with pytest.raises(BadAnswer) as bad:
            async with aclosing(api.watch(CONFIGMAPS, resource_version="1")) as watch:
                await anext(watch)
    assert bad.value.reason == reason


async def test_a_watch_that_ends_properly_in_the_middle_of_an_event_has_failed(tmp_path: Path) -> None:
    async with answering(b'{"type": "ADDED", "obj') as url, to(url, tmp_path) as api:
        with pytest.raises(ApiUnreachable) as torn:
            async with aclosing(api.watch(CONFIGMAPS, resource_version="1")) as watch:
                await anext(watch)
    assert torn.value.reason == "ended the watch in the middle of an event"


async def test_an_answer_without_end_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eggycore_k8s_watch.answers.body_of.__defaults__", (1_048_576,))
    async with answering(b" " * 2_000_000) as url, to(url, tmp_path) as api:
        with pytest.raises(BadAnswer) as bad:
            await api.list(CONFIGMAPS)
    assert bad.value.reason == "is longer than 1 MiB"


async def test_an_error_in_plain_text_and_a_date_to_come_back_are_understood(tmp_path: Path) -> None:
    far = web.Response(
        status=503, text="no healthy upstream\n", headers={"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}
    )
    async with answering(far) as url, to(url, tmp_path) as api:
        with pytest.raises(ApiFailed) as failed:
            await api.list(CONFIGMAPS)
    assert failed.value.retry_after == 300  # nobody is waited for longer than that
    assert diagnose(failed.value).cause == "It says: no healthy upstream."


async def test_closing_it_leaves_nothing_open(server: KubernetesAPI, tmp_path: Path) -> None:
    async with client(server, tmp_path) as api:
        version = (await api.list(CONFIGMAPS)).resource_version
        server.bookmark_every(0.01)
        async with aclosing(api.watch(CONFIGMAPS, resource_version=version)) as watch:
            await anext(watch)
        until = time.monotonic() + 5
        while server.watching and time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert server.watching == 0
    with pytest.raises(RuntimeError, match="outside its `async with`"):
        await api.list(CONFIGMAPS)
