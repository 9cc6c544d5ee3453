"""The client of the API server against the double: what it asks, with which token and certificate."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import aclosing
from importlib import import_module
from pathlib import Path

import pytest
from aiohttp import web

from eggycore.diagnostics import diagnose, render
from eggycore.metrics import Registry
from eggycore_k8s_watch.access import find_access
from eggycore_k8s_watch.api import ApiClient
from eggycore_k8s_watch.errors import (
    ApiRefused,
    ApiUnreachable,
    Conflict,
    Unauthorized,
)
from eggycore_k8s_watch.kubeconfig import read_kubeconfig
from eggycore_k8s_watch.objects import CONFIGMAPS, LEASES, name_of, version_of
from tests.servers.certificates import Certificates
from tests.servers.kubernetes import KubernetesAPI

kit = import_module("plugins.eggycore-k8s-watch.tests.api_world")
QUICK, LONG, client, answering, to, message = kit.QUICK, kit.LONG, kit.client, kit.answering, kit.to, kit.message


@pytest.fixture
def server() -> Iterator[KubernetesAPI]:
    with KubernetesAPI() as api:
        yield api


async def test_it_gets_lists_creates_and_replaces(server: KubernetesAPI, tmp_path: Path) -> None:
    metrics = Registry()
    async with client(server, tmp_path, metrics=metrics) as api:
        made = await api.create(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
        assert made["spec"]["holderIdentity"] == "a"
        made["spec"]["holderIdentity"] = "b"
        replaced = await api.replace(LEASES, made)
        assert int(version_of(replaced)) > int(version_of(made))
        assert (await api.get(LEASES, "l"))["spec"]["holderIdentity"] == "b"
        page = await api.list(LEASES)
        assert [name_of(one) for one in page.items] == ["l"]
        with pytest.raises(Conflict) as stale:
            await api.replace(LEASES, made)
        with pytest.raises(Conflict) as twice:
            await api.create(LEASES, {"metadata": {"name": "l"}})
    assert render(diagnose(stale.value)).startswith("The Lease l in namespace shop has changed since it was read.\n")
    assert render(diagnose(twice.value)).startswith("There is a Lease l in namespace shop already.\n")
    (requests,) = (one for one in metrics.collect() if one.name == "k8s_watch_requests_total")
    assert {sample.labels: sample.value for sample in requests.samples} == {
        ("create", "201"): 1,
        ("create", "409"): 1,
        ("get", "200"): 1,
        ("list", "200"): 1,
        ("update", "200"): 1,
        ("update", "409"): 1,
    }


async def test_a_list_comes_in_pages_and_only_what_is_asked_for(server: KubernetesAPI, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        server.put("configmaps", "shop", name, labels={"app": "forms" if name != "b" else "other"})
    server.put("configmaps", "elsewhere", "a")
    async with client(server, tmp_path) as api:
        first = await api.list(CONFIGMAPS, limit=2)
        second = await api.list(CONFIGMAPS, limit=2, more=first.more)
        assert [name_of(one) for one in (*first.items, *second.items)] == ["a", "b", "c"]
        assert second.more == ""
        assert first.resource_version == second.resource_version
        labelled = await api.list(CONFIGMAPS, labels="app=forms")
        assert [name_of(one) for one in labelled.items] == ["a", "c"]
        named = await api.list(CONFIGMAPS, name="b")
        assert [name_of(one) for one in named.items] == ["b"]
        assert (await api.list(CONFIGMAPS, name="missing")).items == ()


async def test_a_watch_tells_what_happens_after_a_version(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "forms", data={"A": "1"})
    opened = asyncio.Event()
    async with client(server, tmp_path) as api:
        version = (await api.list(CONFIGMAPS)).resource_version
        watch = api.watch(CONFIGMAPS, resource_version=version, name="forms", opened=opened.set)
        async with aclosing(watch):
            server.put("configmaps", "shop", "forms", data={"A": "2"})
            server.put("configmaps", "shop", "other", data={})
            server.delete("configmaps", "shop", "forms")
            events = [await anext(watch) for _ in range(2)]
    assert opened.is_set()
    assert [event.type for event in events] == ["MODIFIED", "DELETED"]
    assert events[0].object["data"] == {"A": "2"}


async def test_objects_of_1_mib_arrive_whole_in_whatever_pieces(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "forms", data={"A": ""})
    async with client(server, tmp_path) as api:
        version = (await api.list(CONFIGMAPS)).resource_version
        server.trickle(4096, 0.0)
        async with aclosing(api.watch(CONFIGMAPS, resource_version=version)) as watch:
            server.put("configmaps", "shop", "forms", data={"A": LONG})
            assert (await anext(watch)).object["data"]["A"] == LONG
        assert (await api.get(CONFIGMAPS, "forms"))["data"]["A"] == LONG


async def test_a_server_behind_a_path_and_another_namespace_are_asked(tmp_path: Path) -> None:
    empty = web.json_response({"metadata": {"resourceVersion": "1"}, "items": None})
    async with answering(empty) as url, to(f"{url}/k8s/clusters/c-1", tmp_path, namespace="other") as api:
        assert (await api.list(CONFIGMAPS)).items == ()
        assert api.namespace == "other"


# --- TLS and tokens


async def test_a_pod_is_known_by_its_token_which_is_read_anew_after_a_401(
    certificates: Certificates, folder: Path, tmp_path: Path
) -> None:
    with KubernetesAPI(certificates) as server:
        pod = server.service_account(folder, token="old")
        server.require_tokens({"old"})
        access = find_access(environ=pod.environ, account=folder, home=tmp_path)
        async with ApiClient(access) as api:
            await api.list(CONFIGMAPS)
            pod.rotate("new")
            server.require_tokens({"new": "system:serviceaccount:shop:forms"})
            await api.list(CONFIGMAPS)  # its 10 s are not over, so it sends the old one first
            await api.list(CONFIGMAPS)
        assert [call.status for call in server.requests] == [200, 401, 200, 200]


async def test_a_token_that_is_not_accepted_is_sent_once(
    certificates: Certificates, folder: Path, tmp_path: Path
) -> None:
    with KubernetesAPI(certificates) as server:
        pod = server.service_account(folder, token="old")
        server.require_tokens({"another"})
        access = find_access(environ=pod.environ, account=folder, home=tmp_path)
        async with ApiClient(access) as api:
            with pytest.raises(Unauthorized) as refused:
                await api.list(CONFIGMAPS)
        assert len(server.requests) == 1
    assert message(refused.value) == (
        "The Kubernetes API server does not accept this process's credentials.\n"
        f"  cause:  It answered 401 to the token in {folder}/token.\n"
        "  action: Look whether the token or certificate has expired or belongs to another cluster."
    )


async def test_a_client_certificate_is_shown(certificates: Certificates, tmp_path: Path) -> None:
    with KubernetesAPI(certificates, tls_mode="client") as server:
        async with client(server, tmp_path) as api:
            await api.list(CONFIGMAPS)
        assert server.requests[-1].user == "postgres"


async def test_an_authority_that_is_replaced_counts_for_the_next_connection(
    certificates: Certificates, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pem"
    shutil.copyfile(certificates.other_authority, trusted)
    with KubernetesAPI(certificates) as server:
        file = server.kubeconfig(tmp_path, authority=trusted)
        async with ApiClient(read_kubeconfig([file]), timeouts=QUICK) as api:
            with pytest.raises(ApiUnreachable) as refused:
                await api.list(CONFIGMAPS)
            shutil.copyfile(certificates.authority, trusted)
            with pytest.raises(ApiUnreachable):
                await api.list(CONFIGMAPS)  # fails with the old one, and looks at the file
            await api.list(CONFIGMAPS)
        url = server.url
    assert message(refused.value) == (
        f"The Kubernetes API server {url} cannot be reached.\n"
        "  cause:  It has a certificate that is not accepted: unable to get local issuer certificate.\n"
        "  action: Compare the certificate authority of the ServiceAccount, or of the kubeconfig, with the server's."
    )


async def test_an_expired_certificate_and_one_of_another_host_are_not_accepted(
    certificates: Certificates, tmp_path: Path
) -> None:
    for identity, reason in (
        (certificates.expired, "certificate has expired"),
        (certificates.other_host, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ):
        with KubernetesAPI(identity) as server:
            async with client(server, tmp_path, timeouts=QUICK) as api:
                with pytest.raises(ApiUnreachable) as refused:
                    await api.list(CONFIGMAPS)
        assert refused.value.reason == f"has a certificate that is not accepted: {reason}"


async def test_a_name_that_the_kubeconfig_gives_is_what_the_certificate_must_have(
    certificates: Certificates, tmp_path: Path
) -> None:
    with KubernetesAPI(certificates.other_host) as server:
        access = read_kubeconfig([server.kubeconfig(tmp_path)])
        access.server_name = "elsewhere.example"
        async with ApiClient(access) as api:
            await api.list(CONFIGMAPS)


async def test_a_token_does_not_follow_a_redirection(tmp_path: Path) -> None:
    elsewhere = web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
    async with answering(elsewhere) as url, to(url, tmp_path) as api:
        with pytest.raises(ApiRefused) as refused:
            await api.get(CONFIGMAPS, "forms")
    assert message(refused.value) == (
        "The Kubernetes API server answered 302 to get ConfigMap forms in namespace default.\n"
        "  action: Look at the message, and at the server's log."
    )


# --- what goes wrong
