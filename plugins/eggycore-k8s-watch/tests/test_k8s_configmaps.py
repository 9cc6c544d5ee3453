"""ConfigMaps in a real runtime against the double: what changes, and at what pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from eggycore_k8s_watch.overlays import Overlay, overlay_of
from tests.servers.kubernetes import KubernetesAPI

kit = import_module("plugins.eggycore-k8s-watch.tests.configmap_world")
ShopSettings, Shop, watching, greeting, reloads, until, reason = (
    kit.ShopSettings,
    kit.Shop,
    kit.watching,
    kit.greeting,
    kit.reloads,
    kit.until,
    kit.reason,
)


async def test_the_first_state_is_in_force_before_the_app_is_ready(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi", "application.yaml": "shop:\n  limit: 20\n"})
    async with watching(server, tmp_path) as service:
        assert greeting(service) == "hi"
        assert service.runtime.config[ShopSettings].limit == 20
        origins = [service.runtime.config.explain(key).entry.origin for key in ("GREETING", "SHOP_LIMIT")]
        assert origins == [
            "ConfigMap shop/forms, key GREETING",
            "ConfigMap shop/forms, key application.yaml line 2",
        ]
        assert await reason(service) == ""


async def test_every_change_reaches_the_app_within_milliseconds(server: KubernetesAPI, tmp_path: Path) -> None:
    app = Shop()
    server.put("configmaps", "shop", "forms", data={"GREETING": "0"})
    async with watching(server, tmp_path, app) as service:
        seconds = []
        for number in range(1, 101):
            begun = time.monotonic()
            server.put("configmaps", "shop", "forms", data={"GREETING": str(number)})
            await until(lambda number=number: app.told[-1][1] == str(number))  # type: ignore[misc]  # bound now
            seconds.append(app.told[-1][0] - begun)
        assert [told for _, told in app.told[-100:]] == [str(number) for number in range(1, 101)]
        assert min(seconds) < 0.05  # nothing waits for more; what is above is a busy machine
        assert median(seconds) < 0.5
        assert service.runtime.config.generation >= 101


async def test_changes_faster_than_they_can_be_taken_over_end_with_the_last(
    server: KubernetesAPI, tmp_path: Path
) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "0"})
    async with watching(server, tmp_path) as service:
        for number in range(1, 101):
            server.put("configmaps", "shop", "forms", data={"GREETING": str(number)})
        await until(lambda: greeting(service) == "100")


async def test_only_the_document_of_this_environment_counts(server: KubernetesAPI, tmp_path: Path) -> None:
    data = {"base.yaml": "greeting: base", "production.yaml": "greeting: production", "staging.json": "{"}
    server.put("configmaps", "shop", "forms", data=data)
    async with watching(server, tmp_path, ENVIRONMENT="production") as service:
        assert greeting(service) == "production"
        data["production.yaml"] = "shop_limit: 7"
        server.put("configmaps", "shop", "forms", data=data)
        await until(lambda: greeting(service) == "base")


async def test_all_that_a_label_selects_are_laid_and_none_is_fine(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "other", data={"GREETING": "other"})
    async with watching(server, tmp_path, K8S_CONFIGMAP_SELECTOR="app=forms") as service:
        assert greeting(service) == "hello"
        server.put("configmaps", "shop", "b", data={"GREETING": "b"}, labels={"app": "forms"})
        await until(lambda: greeting(service) == "b")
        server.put("configmaps", "shop", "a", data={"GREETING": "a", "SHOP_LIMIT": "3"}, labels={"app": "forms"})
        await until(lambda: service.runtime.config[ShopSettings].limit == 3)
        assert greeting(service) == "b"


async def test_a_change_of_nothing_that_counts_is_no_reload(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
    async with watching(server, tmp_path) as service:
        before = reloads(service)
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"}, annotations={"touched": "1"})
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"}, labels={"a": "b"})
        events = service.runtime.metrics.counter(
            "k8s_watch_events_total", "Events that the watches of the Kubernetes API have delivered.", ("type",)
        )
        await until(lambda: events.labels("MODIFIED").value == 2)
        server.put("configmaps", "shop", "forms", data={"GREETING": "hey"})
        await until(lambda: greeting(service) == "hey")
        assert reloads(service) == before + 1


async def test_a_configmap_of_1_mib_is_taken_over(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
    async with watching(server, tmp_path) as service:
        server.put("configmaps", "shop", "forms", data={"GREETING": "x" * 1_000_000})
        await until(lambda: len(greeting(service)) == 1_000_000)


async def test_documents_are_read_beside_the_event_loop(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set[threading.Thread]()

    def reading(origin: str, data: Mapping[str, str], **more: Any) -> Overlay:
        threads.add(threading.current_thread())
        return overlay_of(origin, data, **more)

    monkeypatch.setattr("eggycore_k8s_watch.overlays.overlay_of", reading)
    server.put("configmaps", "shop", "forms", data={"base.yaml": "greeting: hi"})
    async with watching(server, tmp_path) as service:
        server.put("configmaps", "shop", "forms", data={"base.yaml": "greeting: ho"})
        await until(lambda: greeting(service) == "ho")
    assert threads
    assert threading.main_thread() not in threads


# --- what is not taken over
