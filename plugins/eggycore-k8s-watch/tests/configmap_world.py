"""An app that a ConfigMap configures, in a runtime beside the double of the API server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from eggycore import hookimpl
from eggycore.config import Settings, env
from eggycore.testing import Running, running
from eggycore_k8s_watch.configmaps import ConfigMapWatch
from eggycore_k8s_watch.objects import version_of
from tests.servers.kubernetes import KubernetesAPI


class ShopSettings(Settings):
    greeting: str = env("GREETING", default="hello", reload=True, doc="What is said.")
    limit: int = env("SHOP_LIMIT", default=10, ge=1, reload=True, doc="How many.")
    color: str = env("COLOR", default="red", doc="Only a restart changes it.")


class Shop:
    """An app that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []

    @hookimpl
    def register_settings(self) -> type[Settings]:
        return ShopSettings

    @hookimpl
    def config_changed(self, change: Any) -> None:
        self.told.append((time.monotonic(), change.new[ShopSettings].greeting))


def environ(server: KubernetesAPI, folder: Path, **more: str) -> dict[str, str]:
    return {
        "ENABLE_K8S_CONFIG_WATCH": "true",
        "K8S_KUBECONFIG": str(server.kubeconfig(folder, namespace="shop")),
        "K8S_CONFIGMAP_NAME": "forms",
    } | {key: text for key, text in more.items() if text}


@asynccontextmanager
async def watching(server: KubernetesAPI, folder: Path, app: Shop | None = None, **more: str) -> AsyncIterator[Running]:
    settings = environ(server, folder, **more)
    if "K8S_CONFIGMAP_SELECTOR" in settings:
        del settings["K8S_CONFIGMAP_NAME"]
    async with running(app or Shop(), plugins=["k8s-watch"], settings=settings, folder=folder) as service:
        yield service


def greeting(service: Running) -> str:
    return service.runtime.config[ShopSettings].greeting


def reloads(service: Running) -> float:
    """How many there have been, whatever came of them."""
    (family,) = (one for one in service.runtime.metrics.collect() if one.name == "config_reloads_total")
    return sum(sample.value for sample in family.samples)


def seen_version(service: Running) -> str:
    """The version of the one ConfigMap that was last laid."""
    return version_of(service.runtime.get(ConfigMapWatch)._latest["forms"])


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while True:
        said = condition()
        if said if isinstance(said, bool) else await said:
            return
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.005)


async def reason(service: Running, check: str = "k8s-config") -> str:
    """Why the check is degraded, "" when it is not."""
    answer = await service.health.get("/readyz?verbose")
    assert answer.status == 200  # never red: the last good values are in force
    details = (await answer.json())["details"][check]
    return str(details["reason"] or details["status"]) if details["status"] != "UP" else ""


async def until_reason(service: Running, wanted: str) -> None:
    try:
        async with asyncio.timeout(10):
            while await reason(service) != wanted:
                await asyncio.sleep(0.005)
    except TimeoutError:
        assert await reason(service) == wanted


# --- what changes
