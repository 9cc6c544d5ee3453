"""Where the API server is: the pod's ServiceAccount, kubeconfigs and what of them is refused, files that rotate."""

from __future__ import annotations

import base64
import json
import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.testing import FakeClock
from eggycore_k8s_watch.access import Access, find_access, in_cluster
from eggycore_k8s_watch.credentials import CheckedFile, client_context
from eggycore_k8s_watch.errors import CredentialUnusable, KubeconfigUnusable, NoCluster
from eggycore_k8s_watch.kubeconfig import read_kubeconfig
from tests.servers.certificates import Certificates
from tests.servers.processes import binary

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
INSTEAD = (
    "Give the user a token or a client certificate: kubectl create token NAME makes one of a ServiceAccount's"
    " (tokenFile names a file that something renews), or run in the cluster."
)


def account(folder: Path, *, token: str = "t-1", namespace: str | None = "shop", ca: bytes | None = None) -> Path:
    """What the kubelet mounts into a pod."""
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    if namespace is not None:
        (folder / "namespace").write_text(namespace)
    if ca is not None:
        (folder / "ca.crt").write_bytes(ca)
    return folder


def kubeconfig(
    folder: Path,
    *,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    name: str = "config",
) -> Path:
    """A kubeconfig with one context `shop`, which is the current one."""
    file = folder / name
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://k8s.example:6443"} | (cluster or {})}],
        "users": [{"name": "u", "user": {"token": "t"} if user is None else user}],
        "contexts": [{"name": "shop", "context": {"cluster": "c", "user": "u"} | (context or {})}],
        "current-context": "shop",
    }
    file.write_text(json.dumps(content))
    return file


def message(error: Exception) -> str:
    return render(diagnose(error))


# --- in a pod


def test_a_pod_finds_its_api_server_by_its_service_account(tmp_path: Path) -> None:
    access = find_access(environ=POD, account=account(tmp_path / "sa"), home=tmp_path)
    assert (access.server, access.namespace, access.source) == (
        "https://10.0.0.1:6443",
        "shop",
        "the pod's ServiceAccount",
    )
    assert access.bearer() == "t-1"
    assert access.ca is None  # not mounted, so the system's authorities count
    assert access.warnings == ()


def test_an_ipv6_address_is_put_in_brackets_and_the_port_may_be_missing(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1"}
    access = in_cluster(environ, account(tmp_path / "sa", namespace=None))
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "default")


def test_a_pod_without_a_token_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CredentialUnusable) as refused:
        in_cluster(POD, tmp_path)
    assert message(refused.value) == (
        f"The token of the pod's ServiceAccount in {tmp_path}/token cannot be used.\n"
        "  cause:  No such file.\n"
        "  action: Let the pod have it: automountServiceAccountToken: true in the pod's spec."
    )


def test_a_named_kubeconfig_wins_over_the_pod(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path)
    access = find_access(kubeconfig=file, environ=POD, account=account(tmp_path / "sa"))
    assert access.server == "https://k8s.example:6443"
    assert access.source == f"kubeconfig {file}, context shop"


def test_outside_a_pod_kubectl_s_files_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube", cluster={"server": "https://home:1"})
    assert find_access(environ={}, home=tmp_path).server == "https://home:1"
    named = kubeconfig(tmp_path, cluster={"server": "https://named:1"})
    environ = {"KUBECONFIG": f"{tmp_path}/missing{os.pathsep}{named}"}
    assert find_access(environ=environ, home=tmp_path).server == "https://named:1"


def test_a_context_asks_for_a_kubeconfig_even_in_a_pod(tmp_path: Path) -> None:
    named = kubeconfig(tmp_path)
    access = find_access(context="shop", environ={**POD, "KUBECONFIG": str(named)}, home=tmp_path)
    assert access.server == "https://k8s.example:6443"


def test_without_pod_and_kubeconfig_there_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(NoCluster) as refused:
        find_access(environ={}, home=tmp_path)
    assert message(refused.value) == (
        "There is no Kubernetes cluster to talk to.\n"
        "  cause:  This is no pod (KUBERNETES_SERVICE_HOST is not set), and there is no kubeconfig:"
        f" {tmp_path}/.kube/config.\n"
        "  action: Name a kubeconfig in K8S_KUBECONFIG, or leave ENABLE_K8S_CONFIG_WATCH and K8S_LEADERSHIP unset here."
    )


# --- kubeconfigs


def test_several_files_are_merged_and_the_first_counts(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_text("current-context: b\ncontexts:\n- {name: b, context: {cluster: c, namespace: two}}\n")
    second = kubeconfig(tmp_path, cluster={"server": "https://second/prefix/"}, name="second")
    access = read_kubeconfig([first, second])
    assert (access.server, access.namespace, access.bearer()) == ("https://second/prefix", "two", None)
    assert read_kubeconfig([first, second], "shop").bearer() == "t"


def test_relative_paths_start_from_the_kubeconfig(tmp_path: Path, certificates: Certificates) -> None:
    shutil.copyfile(certificates.authority, tmp_path / "ca.pem")
    (tmp_path / "tok").write_text("rotating\n")
    file = kubeconfig(
        tmp_path,
        cluster={"certificate-authority": "ca.pem", "tls-server-name": "api.internal"},
        user={"tokenFile": "tok", "token": "ignored"},
    )
    access = read_kubeconfig([file])
    assert access.bearer() == "rotating"
    assert access.server_name == "api.internal"
    assert access.tls() is access.tls()


def test_certificates_may_stand_in_the_kubeconfig_and_never_reach_a_disk(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    monkeypatch.setattr("tempfile.NamedTemporaryFile", None)
    file = kubeconfig(
        tmp_path,
        cluster={"certificate-authority-data": data(certificates.authority)},
        user={
            "client-certificate-data": data(certificates.client.certificate),
            "client-key-data": data(certificates.client.key),
        },
    )
    context = read_kubeconfig([file]).tls()
    assert context is not None
    assert [one["serialNumber"] for one in context.get_ca_certs()]


def test_where_there_are_no_files_in_memory_a_private_one_is_removed_at_once(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client = certificates.client
    assert client_context(ca=None, certificate=client.certificate, key=client.key.read_bytes(), verify=True)
    assert list(tmp_path.iterdir()) == []


def test_an_unchecked_certificate_and_a_token_in_the_clear_are_warned_about(tmp_path: Path) -> None:
    unchecked = read_kubeconfig([kubeconfig(tmp_path, cluster={"insecure-skip-tls-verify": True})])
    assert unchecked.warnings == (
        "the certificate of the Kubernetes API server is not checked (insecure-skip-tls-verify)",
    )
    context = unchecked.tls()
    assert context is not None
    assert context.verify_mode == ssl.CERT_NONE
    plain = read_kubeconfig([kubeconfig(tmp_path, cluster={"server": "http://k8s.example"})])
    assert plain.warnings == (
        "the connection to the Kubernetes API server is not encrypted, and a token travels over it",
    )
    assert plain.tls() is None
    assert read_kubeconfig([kubeconfig(tmp_path, cluster={"server": "http://127.0.0.1:1"})]).warnings == ()


def test_no_secret_is_shown() -> None:
    access = Access(server="https://k", namespace="n", source="s", token="hunter2", key=b"hunter2", ca=b"x")
    assert "hunter2" not in repr(access)
    assert access.credentials == "the token of s"


@pytest.mark.parametrize(
    ("user", "reason", "action"),
    [
        (
            {"exec": {"command": "aws", "apiVersion": "v1"}},
            "the user 'u' gets its credentials from a program (exec), which this process does not run",
            INSTEAD,
        ),
        (
            {"auth-provider": {"name": "gcp"}},
            "the user 'u' gets its credentials from an auth-provider, which kubectl itself has given up",
            INSTEAD,
        ),
        (
            {"username": "me", "password": "hunter2"},
            "the user 'u' has a user name and a password, which API servers no longer take",
            INSTEAD,
        ),
        (
            {"token": "t", "as": "root"},
            "the user 'u' acts as somebody else (as), which this process does not do",
            "Make a user with the rights it needs.",
        ),
    ],
)
def test_what_a_user_may_not_be_is_refused_with_what_to_use(
    tmp_path: Path, user: dict[str, Any], reason: str, action: str
) -> None:
    file = kubeconfig(tmp_path, user=user)
    with pytest.raises(KubeconfigUnusable) as refused:
        read_kubeconfig([file])
    assert message(refused.value) == f"The kubeconfig {file} cannot be used: {reason}.\n  action: {action}"


@pytest.mark.parametrize(
    ("cluster", "reason", "action"),
    [
        (
            {"proxy-url": "http://proxy:3128"},
            "the cluster 'c' is reached through a proxy (proxy-url), which is not supported",
            "Reach the API server directly, or through kubectl proxy with a context for it.",
        ),
        ({"server": "k8s:6443"}, "the server of cluster 'c' is 'k8s:6443'", "Give it a URL that begins with https://."),
        ({"server": None}, "the cluster 'c' has no server", "Give it a URL that begins with https://."),
        ({"server": 7}, "server is no text", "Put it in quotes."),
        (
            {"certificate-authority-data": "%%%"},
            "certificate-authority-data is not in base64",
            "Encode it, or name a file in certificate-authority.",
        ),
    ],
)
def test_what_a_cluster_may_not_be_is_refused(
    tmp_path: Path, cluster: dict[str, Any], reason: str, action: str
) -> None:
    file = kubeconfig(tmp_path, cluster=cluster)
    with pytest.raises(KubeconfigUnusable) as refused:
        read_kubeconfig([file])
    assert message(refused.value) == f"The kubeconfig {file} cannot be used: {reason}.\n  action: {action}"


@pytest.mark.parametrize(
    ("content", "reason", "action"),
    [
        ("a: [1\nb: 2", "line 2 is no YAML", "Write it anew, for example with kubectl config view --raw."),
        ("", "it is empty", "Write it anew, for example with kubectl config view --raw."),
        ("- a", "it is no mapping", "Write it anew, for example with kubectl config view --raw."),
        ("\0", "it is no YAML", "Write it anew, for example with kubectl config view --raw."),
        ("#" * 4_194_305, "it is longer than 4 MiB", "Write it anew, for example with kubectl config view --raw."),
        (
            "clusters: [{name: c}]",
            "clusters holds something that is no cluster with a name",
            "Remove it; compare with kubectl config view.",
        ),
        (
            "contexts: []",
            "it has no current context",
            "Name one in K8S_CONTEXT, or: kubectl config use-context",
        ),
        (
            "current-context: a\ncontexts: [{name: b, context: {cluster: c}}]",
            "it has no context 'a'",
            "Correct K8S_CONTEXT, or current-context.",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: prd}}]\n"
            "clusters: [{name: prod, cluster: {server: 'https://x'}}]",
            "it has no cluster 'prd'",
            "Correct the cluster of context 'a'. Did you mean 'prod'?",
        ),
    ],
)
def test_a_kubeconfig_that_makes_no_sense_is_refused(tmp_path: Path, content: str, reason: str, action: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(KubeconfigUnusable) as refused:
        read_kubeconfig([file])
    assert message(refused.value) == f"The kubeconfig {file} cannot be used: {reason}.\n  action: {action}"


def test_a_kubeconfig_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigUnusable) as refused:
        read_kubeconfig([tmp_path / "config"])
    assert message(refused.value) == (
        f"The kubeconfig {tmp_path}/config cannot be used: no such file or directory.\n"
        "  action: Correct K8S_KUBECONFIG, or make the file readable."
    )


def test_what_kubectl_writes_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "written"

    def kubectl(*arguments: str) -> None:
        tool = binary("kubectl", "kubernetes-client")
        subprocess.run([tool, "--kubeconfig", file, "config", *arguments], check=True, capture_output=True)

    kubectl("set-cluster", "prod", "--server=https://k8s.example", "--tls-server-name=api")
    kubectl("set", "users.me.token", "secret")  # Debian's 1.20 panics in set-credentials
    kubectl("set-context", "x", "--cluster=prod", "--user=me", "--namespace=shop")
    kubectl("use-context", "x")
    access = read_kubeconfig([file])
    assert (access.server, access.server_name) == ("https://k8s.example", "api")
    assert (access.namespace, access.bearer()) == ("shop", "secret")


# --- files that rotate


def test_a_rotated_token_is_seen_within_10_s_and_at_once_when_asked(tmp_path: Path) -> None:
    clock = FakeClock()
    file = tmp_path / "token"
    file.write_text("old\n")
    access = Access(server="https://k", namespace="n", source="s", token_file=file, clock=clock)
    assert access.bearer() == "old"
    replacement = tmp_path / "new"
    replacement.write_text("new\n")
    replacement.replace(file)
    clock.advance(9)
    assert access.bearer() == "old"
    assert access.bearer(again=True) == "new"
    file.write_text("newest\n")
    clock.advance(11)
    assert access.bearer() == "newest"


def test_the_last_token_stays_while_the_file_is_being_replaced(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    access = Access(server="https://k", namespace="n", source="s", token_file=file)
    assert access.bearer() == "old"
    file.unlink()
    assert access.bearer(again=True) == "old"
    file.write_text("")
    assert access.bearer(again=True) == "old"
    file.write_text("new")
    assert access.bearer(again=True) == "new"


def test_a_token_file_that_was_never_there_is_an_error(tmp_path: Path) -> None:
    access = Access(server="https://k", namespace="n", source="s", token_file=tmp_path / "token")
    with pytest.raises(CredentialUnusable) as refused:
        access.bearer()
    assert message(refused.value) == (
        f"The bearer token in {tmp_path}/token cannot be used.\n"
        "  cause:  No such file or directory.\n"
        "  action: Correct it, or make it readable for this user."
    )


def test_a_file_that_does_not_change_is_not_read_again(tmp_path: Path) -> None:
    file = tmp_path / "ca"
    file.write_text("x")
    checked = CheckedFile(file, clock=FakeClock())
    assert [checked.changed(again=True) for _ in range(3)] == [True, False, False]


def test_where_the_cluster_has_its_own_authority_those_of_the_system_are_not_loaded(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loading(context: ssl.SSLContext, *purpose: object) -> None:
        raise AssertionError("it takes tens of milliseconds of the event loop")

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", loading)
    context = client_context(ca=certificates.authority, certificate=None, key=None, verify=True)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_a_new_authority_makes_a_new_context_and_half_a_swap_does_not(
    tmp_path: Path, certificates: Certificates
) -> None:
    clock = FakeClock()
    ca, certificate, key = tmp_path / "ca", tmp_path / "certificate", tmp_path / "key"
    shutil.copyfile(certificates.authority, ca)
    shutil.copyfile(certificates.client.certificate, certificate)
    shutil.copyfile(certificates.client.key, key)
    access = Access(server="https://k", namespace="n", source="s", ca=ca, certificate=certificate, key=key, clock=clock)
    first = access.tls()
    shutil.copyfile(certificates.other_authority, ca)
    assert access.tls() is first  # looked at a moment ago
    clock.advance(11)
    second = access.tls()
    assert second is not first
    key.write_text("half")
    assert access.tls(again=True) is second
    shutil.copyfile(certificates.server.certificate, certificate)
    shutil.copyfile(certificates.server.key, key)
    assert access.tls(again=True) is not second


@pytest.mark.parametrize(
    ("field", "purpose"),
    [
        ("ca", "authority of the API server's certificate"),
        ("certificate", "client certificate, or its key,"),
    ],
)
def test_a_file_that_is_no_certificate_is_named_without_its_content(tmp_path: Path, field: str, purpose: str) -> None:
    file = tmp_path / "pem"
    file.write_text("hunter2")
    files: dict[str, Any] = {"ca": None, "certificate": None, "key": None, field: file}
    with pytest.raises(CredentialUnusable) as refused:
        client_context(verify=True, **files)
    text = message(refused.value)
    assert text.startswith(f"The {purpose} in {file} cannot be used.\n  cause:  ")
    assert text.endswith("\n  action: Correct it, or make it readable for this user.")
    assert "hunter2" not in text
