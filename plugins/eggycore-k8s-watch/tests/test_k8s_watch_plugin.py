"""The plugin in a real runtime: its settings are known, and watching is refused in this version."""

from __future__ import annotations

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.testing import running
from eggycore_k8s_watch import K8sWatchSettings


async def test_its_settings_are_read() -> None:
    async with running(plugins=["k8s-watch"], settings={"K8S_CONFIGMAP_NAME": "forms"}) as service:
        assert service.runtime.config[K8sWatchSettings].configmap_name == "forms"


async def test_both_problems_are_in_one_report() -> None:
    with pytest.raises(ConfigError) as refused:
        async with running(plugins=["k8s-watch"], settings={"ENABLE_K8S_CONFIG_WATCH": "true"}):
            pass
    text = render(diagnose(refused.value))
    assert "K8S_CONFIGMAP_NAME: needed when ENABLE_K8S_CONFIG_WATCH is true." in text
    assert "this version of eggycore-k8s-watch does not watch ConfigMaps yet." in text
    assert "declared by plugin k8s-watch" in text
