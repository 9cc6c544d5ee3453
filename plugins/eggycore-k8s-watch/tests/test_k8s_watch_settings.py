"""ENABLE_K8S_CONFIG_WATCH and K8S_*: defaults, and what is refused before anything opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eggycore_k8s_watch
from eggycore.config import read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore_k8s_watch import K8sWatchSettings


def problem(**values: Any) -> str:
    """The whole report on the one thing that is wrong."""
    (found,) = K8sWatchSettings(**values).problems()
    return render(diagnose(ConfigError((found,)))).partition("\n\n")[2]


def test_the_defaults_watch_nothing() -> None:
    settings = read_from_env(K8sWatchSettings, {})
    assert not settings.enabled
    assert not settings.uses_api
    assert not settings.uses_mount
    assert list(settings.problems()) == []


def test_names_alone_watch_nothing() -> None:
    settings = read_from_env(K8sWatchSettings, {"K8S_CONFIGMAP_NAME": "forms", "K8S_CONFIG_DIR": "/etc/forms"})
    assert not settings.uses_api
    assert not settings.uses_mount


@pytest.mark.parametrize(
    ("values", "uses_api", "uses_mount"),
    [
        ({"configmap_name": "forms"}, True, False),
        ({"configmap_selector": "app=forms"}, True, False),
        ({"config_dir": Path("/etc/forms")}, False, True),
        ({"configmap_name": "forms.v1", "config_dir": Path("/etc/forms"), "namespace": "shop"}, True, True),
    ],
)
def test_what_is_named_is_watched(values: dict[str, Any], uses_api: bool, uses_mount: bool) -> None:
    settings = K8sWatchSettings(enabled=True, **values)
    assert list(settings.problems()) == []
    assert (settings.uses_api, settings.uses_mount) == (uses_api, uses_mount)


def test_watching_needs_something_to_watch() -> None:
    assert problem(enabled=True) == (
        "1. ENABLE_K8S_CONFIG_WATCH 'true': nothing is named that could be watched.\n"
        "     action: Set K8S_CONFIGMAP_NAME, K8S_CONFIGMAP_SELECTOR or K8S_CONFIG_DIR,"
        " or set ENABLE_K8S_CONFIG_WATCH=false."
    )


def test_a_name_and_a_selector_are_one_too_many() -> None:
    assert problem(configmap_name="forms", configmap_selector="app=forms") == (
        "1. K8S_CONFIGMAP_SELECTOR 'app=forms': set together with K8S_CONFIGMAP_NAME.\n"
        "     action: Remove one of the two; give the one ConfigMap the label to have it selected with others."
    )


@pytest.mark.parametrize("name", ["Forms", "a/b", "../secrets/x", "a b", "-a", "a-", "x" * 254])
def test_what_is_no_name_of_a_configmap_is_refused(name: str) -> None:
    assert problem(configmap_name=name) == (
        f"1. K8S_CONFIGMAP_NAME {name!r}: no name of a ConfigMap.\n"
        "     action: Use lower-case letters, digits, hyphens and dots, as kubectl get configmaps shows it."
    )


@pytest.mark.parametrize("namespace", ["Shop", "a.b", "a/../b", "x" * 64])
def test_what_is_no_name_of_a_namespace_is_refused(namespace: str) -> None:
    assert problem(namespace=namespace) == (
        f"1. K8S_NAMESPACE {namespace!r}: no name of a namespace.\n"
        "     action: Use up to 63 lower-case letters, digits and hyphens, as kubectl get namespaces shows it."
    )


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


def test_a_plugin_that_watches_nothing_imports_no_client() -> None:
    script = (
        "import sys\n"
        "from eggycore.runtime import Runtime\n"
        "from eggycore_k8s_watch import plugin\n"
        "runtime = Runtime(objects=[('k8s-watch', plugin)], environ={'SERVICE_NAME': 'x'}, discover=False)\n"
        "runtime.make_plan()\n"
        "print(*sorted(name for name in sys.modules if name.startswith('eggycore_k8s_watch')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "eggycore_k8s_watch.api",
        "eggycore_k8s_watch.access",
        "eggycore_k8s_watch.configmaps",
        "eggycore_k8s_watch.mounted",
        "eggycore_k8s_watch.reflector",
    }
