"""kubectl knows every field that `eggycore k8s manifests` writes, and reads the same out of it. No cluster is asked."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.processes import binary

kit = import_module("plugins.eggycore-k8s-watch.tests.manifest_world")
world = pytest.fixture(kit.world)

WAYS = {
    "all plugins": ("--plugins", "db,cache,monitoring,k8s-watch"),
    "a mesh": ("--plugins", "db,cache,monitoring,k8s-watch", "--mesh"),
    "one replica": ("--plugins", "", "--replicas", "1"),
    "a mount": ("--set", "K8S_CONFIG_DIR=/etc/shop", "--set", "LOG_LEVEL=warn"),
}


SINCE = {"policy/v1": 21, "autoscaling/v2": 23}
"""The minor version of Kubernetes 1 that brought an API; an older kubectl does not have its types."""


def kubectl(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """kubectl, which finds no cluster and no configuration of anybody's."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": os.devnull}
    tool = binary("kubectl", "kubernetes-client")
    return subprocess.run([tool, *words], env=environ, capture_output=True, text=True, timeout=60)


def minor_version(home: Path) -> int:
    """20 for kubectl 1.20."""
    told = json.loads(kubectl(home, "version", "--client", "-o", "json").stdout)["clientVersion"]["minor"]
    return int(told.rstrip("+"))


def unknown_fields(home: Path, one: dict[str, Any]) -> str:
    """What kubectl says of fields that the schema of a kind does not have, at any depth; "" when all are known."""
    file = home / "one.json"
    file.write_text(json.dumps(one))
    way = "strategic" if minor_version(home) >= SINCE.get(one["apiVersion"], 0) else "merge"  # which only parses it
    done = kubectl(home, "patch", "--local", "-f", str(file), f"--type={way}", "-p", json.dumps(one), "-o", "json")
    if not done.stderr:
        assert json.loads(done.stdout) == one
    return done.stderr


def lost(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """The fields of ours that theirs does not have with the same value."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [field for key, value in ours.items() for field in lost(value, theirs.get(key), f"{path}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [field for at, value in enumerate(ours) for field in lost(value, theirs[at], f"{path}[{at}]")]
    return [] if ours == theirs else [path]


@pytest.mark.parametrize("way", WAYS)
def test_kubectl_knows_every_field(world, tmp_path: Path, way: str) -> None:
    for kind, one in world.manifests(*WAYS[way]).items():
        if kind != "ServiceMonitor":  # no kind of Kubernetes itself: a resource of the Prometheus operator
            assert unknown_fields(tmp_path, one) == "", kind


def test_kubectl_would_say_so_of_a_field_that_it_does_not_know(world, tmp_path: Path) -> None:
    one = world.manifests()["Deployment"]
    one["spec"]["template"]["spec"]["containers"][0]["startupProb"] = {"httpGet": {"port": 8081}}
    assert unknown_fields(tmp_path, one) == (
        'error: unable to find api field in struct Container for the json field "startupProb"\n'
    )


@pytest.mark.parametrize("way", WAYS)
def test_kubectl_loses_nothing_of_what_makes_pods(world, tmp_path: Path, way: str) -> None:
    for kind in ("Deployment", "Job"):
        one = world.manifests(*WAYS[way], "--image", "shop:1").get(kind)
        if one is None:
            continue
        file = tmp_path / "one.yaml"
        file.write_text(yaml.safe_dump(one))
        # Reads the object into its type, sets the image and writes it again: what the type lacks would be gone.
        done = kubectl(tmp_path, "set", "image", "--local", "-f", str(file), "*=shop:2", "-o", "json")
        assert done.returncode == 0, done.stderr
        assert [field for field in lost(one, json.loads(done.stdout)) if not field.endswith(".image")] == []


def test_kubectl_reads_the_stream_object_by_object(world, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(world.run("manifests", *WAYS["all plugins"]).stdout)
    done = kubectl(tmp_path, "label", "--local", "-f", str(file), "checked=yes", "-o", "name")
    assert done.returncode == 0, done.stderr
    kinds = [line.partition("/")[0].partition(".")[0] for line in done.stdout.splitlines()]
    assert kinds == [
        "serviceaccount",
        "role",
        "rolebinding",
        "configmap",
        "job",
        "service",
        "deployment",
        "poddisruptionbudget",
        "horizontalpodautoscaler",
        "networkpolicy",
        "servicemonitor",
    ]
