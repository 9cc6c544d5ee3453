"""The ways to the API server that tests use: a kubeconfig, a pod's service account, a certificate, and kubectl."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.infra.kubernetes_client import Client, client_of
from tests.servers import Certificates, KubernetesAPI
from tests.servers.processes import binary, wait_until

USER = "system:serviceaccount:shop:forms"


def test_a_kubeconfig_leads_to_it(certificates: Certificates, tmp_path: Path) -> None:
    with KubernetesAPI(certificates) as api:
        api.require_tokens({"good": USER})
        client = client_of(api.kubeconfig(tmp_path, token="good"), namespace="shop")
        assert client.url.startswith("https://127.0.0.1:")
        assert client.get("configmaps").status == 200
        assert [call.user for call in api.requests] == [USER]


def test_a_client_s_certificate_names_the_user(certificates: Certificates, tmp_path: Path) -> None:
    with KubernetesAPI(certificates, tls_mode="client") as api:
        mine = certificates.client
        client = Client(url=api.url, authority=mine.authority, identity=(mine.certificate, mine.key))
        assert client.get("configmaps").status == 200
        assert [call.user for call in api.requests] == ["postgres"]


def test_a_pod_finds_what_it_needs_and_its_token_rotates(certificates: Certificates, tmp_path: Path) -> None:
    with KubernetesAPI(certificates) as api:
        api.require_tokens(frozenset({"token-1"}))
        account = api.service_account(tmp_path / "serviceaccount")
        assert account.environ == {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
        assert (account.folder / "namespace").read_text() == "shop"
        client = Client(url=api.url, token="token-1", authority=account.folder / "ca.crt")
        assert client.get("configmaps").status == 200
        account.rotate("token-2")
        assert (account.folder / "token").read_text() == "token-2"
        assert (account.folder / "ca.crt").exists()


def test_kubectl_is_content_with_it(kubernetes_api: KubernetesAPI, tmp_path: Path) -> None:
    api = kubernetes_api
    words = [binary("kubectl", "kubernetes-client"), "--kubeconfig", str(api.kubeconfig(tmp_path, namespace="shop"))]
    environ = {"HOME": str(tmp_path), "PATH": ""}

    def kubectl(*more: str, given: str = "") -> str:
        done = subprocess.run([*words, *more], input=given, capture_output=True, text=True, env=environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    manifest = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "forms"}, "data": {"x": "1"}})
    kubectl("create", "--validate=false", "-f", "-", given=manifest)
    assert json.loads(kubectl("get", "configmaps", "-o", "json"))["items"][0]["data"] == {"x": "1"}
    assert kubectl("get", "cm,leases", "-o", "name") == "configmap/forms\n"
    watch = [*words, "get", "cm", "-w", "-o", "name"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True, env=environ) as watching:
        assert watching.stdout is not None
        try:
            assert watching.stdout.readline() == "configmap/forms\n"
            wait_until(lambda: api.watching == 1)
            api.put("configmaps", "shop", "other")
            assert watching.stdout.readline() == "configmap/other\n"
        finally:
            watching.kill()
    kubectl("delete", "cm", "forms", "--wait=false")
    assert [each["metadata"]["name"] for each in api.list("configmaps")] == ["other"]
