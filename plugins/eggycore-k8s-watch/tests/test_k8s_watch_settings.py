"""ENABLE_K8S_CONFIG_WATCH and K8S_*: defaults, and what is refused before anything opens."""

from __future__ import annotations

import subprocess
import sys

import pytest

import eggycore_k8s_watch
from eggycore.config import read_from_env
from eggycore.errors import ConfigError, ConfigProblem
from eggycore_k8s_watch import K8sWatchSettings

NOT_YET = ConfigProblem(
    key="ENABLE_K8S_CONFIG_WATCH",
    value="true",
    reason="this version of eggycore-k8s-watch does not watch ConfigMaps yet",
    action="Set ENABLE_K8S_CONFIG_WATCH=false, and restart the pods when the ConfigMap changes"
    " (kubectl rollout restart).",
)
NO_NAME = ConfigProblem(
    key="K8S_CONFIGMAP_NAME",
    reason="needed when ENABLE_K8S_CONFIG_WATCH is true",
    action="Set it to the name of the ConfigMap, or set ENABLE_K8S_CONFIG_WATCH=false.",
)


def test_the_defaults_watch_nothing() -> None:
    settings = read_from_env(K8sWatchSettings, {})
    assert (settings.enabled, settings.namespace, settings.configmap_name) == (False, "default", None)


def test_a_name_alone_is_accepted() -> None:
    settings = read_from_env(K8sWatchSettings, {"K8S_CONFIGMAP_NAME": "forms", "K8S_NAMESPACE": "shop"})
    assert (settings.namespace, settings.configmap_name) == ("shop", "forms")


def test_watching_without_a_name_is_a_problem_beside_that_it_does_not_watch_yet() -> None:
    assert list(K8sWatchSettings(enabled=True).problems()) == [NO_NAME, NOT_YET]


def test_watching_is_refused_in_this_version() -> None:
    assert list(K8sWatchSettings(enabled=True, configmap_name="forms").problems()) == [NOT_YET]
    with pytest.raises(ConfigError):
        read_from_env(K8sWatchSettings, {"ENABLE_K8S_CONFIG_WATCH": "true", "K8S_CONFIGMAP_NAME": "forms"})


def test_importing_the_package_loads_nothing_else() -> None:
    script = "import sys, eggycore_k8s_watch; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "eggycore.config",
        "eggycore_k8s_watch.plugin",
        "eggycore_k8s_watch.settings",
    }
    with pytest.raises(AttributeError, match="module 'eggycore_k8s_watch' has no attribute 'nothing'"):
        _ = eggycore_k8s_watch.nothing
