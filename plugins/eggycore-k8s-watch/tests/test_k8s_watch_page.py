"""docs/config-watch.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from eggycore.config.sources import Layer
from eggycore.metrics import Registry
from eggycore_k8s_watch.access import Access
from eggycore_k8s_watch.api import ApiClient
from eggycore_k8s_watch.objects import CONFIGMAPS
from eggycore_k8s_watch.overlays import overlay_of
from eggycore_k8s_watch.reflector import Reflector
from eggycore_k8s_watch.roles import role_for
from eggycore_k8s_watch.settings import K8sWatchSettings

PAGE = (Path(__file__).parents[3] / "docs" / "config-watch.md").read_text(encoding="utf-8")
ACCOUNT = "system:serviceaccount:shop:forms"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_role_is_the_one_that_a_403_shows() -> None:
    assert BLOCKS[1] == f"{role_for(CONFIGMAPS, namespace='shop', name='forms', user=ACCOUNT)}\n"


def test_the_configmap_means_what_the_page_says() -> None:
    data = yaml.safe_load(BLOCKS[0])["data"]

    def effective(environment: str) -> dict[str, str]:
        layers: tuple[Layer, ...] = overlay_of("ConfigMap shop/forms", data, environment=environment).layers
        return {key: text for layer in layers for key, text in layer.values.items()}

    assert effective("production") == {"LOG_LEVEL": "debug", "CACHE_TTL": "10m"}
    assert effective("staging") == {"LOG_LEVEL": "debug", "CACHE_TTL": "60s"}


def test_every_metric_and_setting_is_on_the_page() -> None:
    metrics = Registry()
    api = ApiClient(Access(server="https://k", namespace="n", source="s"), metrics=metrics)
    Reflector(api=api, collection=CONFIGMAPS, metrics=metrics)
    assert set(re.findall(r"^\| `(k8s_\w+)` \|", PAGE, flags=re.MULTILINE)) == {one.name for one in metrics.collect()}
    assert {variable.key for variable in K8sWatchSettings.__variables__} <= set(re.findall(r"[A-Z0-9_]{5,}", PAGE))
