"""ConfigMaps while the API server is away, at the start and later."""

from __future__ import annotations

import asyncio
import re
import time
from importlib import import_module
from pathlib import Path

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.errors import NotUpYet
from eggycore.testing import running
from eggycore_k8s_watch.errors import ApiRefused, ApiUnreachable, ConfigMapMissing, Forbidden
from tests.servers.certificates import Certificates
from tests.servers.kubernetes import KubernetesAPI

kit = import_module("plugins.eggycore-k8s-watch.tests.configmap_world")
Shop, environ, watching, greeting, until, reason, until_reason = (
    kit.Shop,
    kit.environ,
    kit.watching,
    kit.greeting,
    kit.until,
    kit.reason,
    kit.until_reason,
)


async def test_a_server_that_goes_away_and_comes_back_is_caught_up_with(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore_k8s_watch.configmaps.BRIEF", 0.0)
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
    async with watching(server, tmp_path) as service:
        await asyncio.to_thread(server.stop)
        service.runtime.health.look_again("k8s-config")
        unreachable = f"The Kubernetes API server {server.url} cannot be reached."
        why = rf"not watched for \d+ s, the last values are kept: {re.escape(unreachable)}"

        async def is_degraded() -> bool:
            service.runtime.health.look_again("k8s-config")
            return re.fullmatch(why, await reason(service)) is not None

        await until(is_degraded)
        assert greeting(service) == "hi"
        server.put("configmaps", "shop", "forms", data={"GREETING": "hey"})
        await asyncio.to_thread(server.start)
        await until(lambda: greeting(service) == "hey", 20)
        await until_reason(service, "")


async def failed_start(server: KubernetesAPI, folder: Path, **more: str) -> BaseException:
    with pytest.raises(Exception) as failed:  # which one is what the tests look at
        async with watching(server, folder, STARTUP_TIMEOUT="0.6s", **more):
            pass
    return failed.value


async def test_a_server_that_does_not_answer_fails_the_start_in_the_end(server: KubernetesAPI, tmp_path: Path) -> None:
    server.stop()
    began = time.monotonic()
    error = await failed_start(server, tmp_path)
    assert 0.5 < time.monotonic() - began < 10
    assert isinstance(error, ApiUnreachable)
    assert render(diagnose(error)) == (
        f"The Kubernetes API server {server.url} cannot be reached.\n"
        "  cause:  It refused the connection.\n"
        "  action: Look whether it runs and whether a NetworkPolicy lets this process reach it."
    )


async def test_a_configmap_that_is_missing_is_waited_for_and_fails_the_start_in_the_end(
    server: KubernetesAPI, tmp_path: Path
) -> None:
    error = await failed_start(server, tmp_path)
    assert isinstance(error, ConfigMapMissing)
    assert isinstance(error, NotUpYet)
    assert render(diagnose(error)) == (
        "There is no ConfigMap forms in namespace shop.\n"
        "  cause:  K8S_CONFIGMAP_NAME names it, and the API server has none of that name there.\n"
        "  action: Create it: kubectl -n shop create configmap forms"
    )


async def test_a_configmap_that_is_made_during_the_start_is_found(server: KubernetesAPI, tmp_path: Path) -> None:
    async def make() -> None:
        await until(lambda: len(server.requests) >= 2)
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})

    making = asyncio.create_task(make())
    async with watching(server, tmp_path) as service:
        assert greeting(service) == "hi"
    await making


async def test_what_is_forbidden_fails_the_start_with_the_role_to_apply(server: KubernetesAPI, tmp_path: Path) -> None:
    server.deny("list", "configmaps")
    error = await failed_start(server, tmp_path)
    assert isinstance(error, Forbidden)
    assert "resourceNames: [forms], verbs: [get, list, watch]" in diagnose(error).action


async def test_a_request_that_can_never_be_right_fails_the_start_at_once(server: KubernetesAPI, tmp_path: Path) -> None:
    error = await failed_start(server, tmp_path, K8S_CONFIGMAP_SELECTOR="a in (")
    assert isinstance(error, ApiRefused)
    assert error.status == 400
    assert len(server.requests) == 1


async def test_in_a_pod_its_own_namespace_and_token_are_used(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sa").mkdir()
    with KubernetesAPI(certificates) as server:
        pod = server.service_account(tmp_path / "sa", token="t")
        server.require_tokens({"t": "system:serviceaccount:shop:forms"})
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
        monkeypatch.setattr(
            "eggycore_k8s_watch.access.find_access.__kwdefaults__",
            {
                "kubeconfig": None,
                "context": None,
                "environ": pod.environ,
                "account": tmp_path / "sa",
                "home": tmp_path,
            },
        )
        settings = {"ENABLE_K8S_CONFIG_WATCH": "true", "K8S_CONFIGMAP_NAME": "forms"}
        async with running(Shop(), plugins=["k8s-watch"], settings=settings, folder=tmp_path) as service:
            assert greeting(service) == "hi"
        assert {call.user for call in server.requests} == {"system:serviceaccount:shop:forms"}
