"""The plugin in a real runtime: what it brings when it watches, and nothing when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.runtime import Runtime
from eggycore.testing import running
from eggycore_k8s_watch import K8sWatchSettings, plugin


def planned(**environ: str) -> set[str]:
    """The initializers and checks of the plan that are about ConfigMaps."""
    runtime = Runtime(
        objects=[("k8s-watch", plugin)], environ={"SERVICE_NAME": "test", **environ}, discover=False, folder=Path("/")
    )
    plan = runtime.make_plan()
    names = {one.name for one in (*plan.initializers, *plan.checks)}
    return names & {"k8s-config", "k8s-mount"}


def test_what_is_watched_is_opened_and_checked() -> None:
    on = {"ENABLE_K8S_CONFIG_WATCH": "true"}
    assert planned(K8S_CONFIGMAP_NAME="forms", K8S_CONFIG_DIR="/etc/forms") == set()
    assert planned(**on, K8S_CONFIGMAP_NAME="forms") == {"k8s-config"}
    assert planned(**on, K8S_CONFIGMAP_SELECTOR="app=forms") == {"k8s-config"}
    assert planned(**on, K8S_CONFIG_DIR="/etc/forms") == {"k8s-mount"}
    assert planned(**on, K8S_CONFIGMAP_NAME="forms", K8S_CONFIG_DIR="/etc/forms") == {"k8s-config", "k8s-mount"}


async def test_its_settings_are_read_and_nothing_is_asked_of_a_cluster() -> None:
    async with running(plugins=["k8s-watch"], settings={"K8S_CONFIGMAP_NAME": "forms"}) as service:
        assert service.runtime.config[K8sWatchSettings].configmap_name == "forms"


async def test_what_is_wrong_with_its_settings_is_in_the_report_of_the_start() -> None:
    with pytest.raises(ConfigError) as refused:
        async with running(plugins=["k8s-watch"], settings={"ENABLE_K8S_CONFIG_WATCH": "true"}):
            pass
    text = render(diagnose(refused.value))
    assert "ENABLE_K8S_CONFIG_WATCH 'true': nothing is named that could be watched." in text
    assert "declared by plugin k8s-watch" in text
