"""Watches ConfigMaps through the API, and lays each of their states over the environment of the runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from eggycore import log
from eggycore.diagnostics import explain
from eggycore.errors import ConfigError, ConfigProblem, Degraded
from eggycore.types import HealthCheck, Initializer
from eggycore_k8s_watch.access import Access, find_access
from eggycore_k8s_watch.api import ApiClient, Timeouts
from eggycore_k8s_watch.errors import ConfigMapMissing
from eggycore_k8s_watch.laying import Laying
from eggycore_k8s_watch.objects import CONFIGMAPS
from eggycore_k8s_watch.overlays import ConfigMaps
from eggycore_k8s_watch.reflector import Objects, Pace, Reflector

if TYPE_CHECKING:
    from eggycore.runtime import Runtime
    from eggycore_k8s_watch.settings import K8sWatchSettings

__all__ = ["CHECK", "ConfigMapWatch", "configmap_check", "configmap_initializer"]

CHECK = "k8s-config"
"""The name of the initializer and of its health check."""

BRIEF = 10.0
"""Seconds for which a watch may be interrupted without a word: servers end and restart them as they please."""


class ConfigMapWatch:
    """The ConfigMaps of this process, followed for as long as `opened` is open. Used on one event loop.

    Args:
        runtime: Whose environment they are laid over.
        api: The client.
        name: The one ConfigMap; "" when they are selected by labels.
        labels: Label selector of the ConfigMaps.
        pace: How often the server is asked when something is wrong.
    """

    def __init__(
        self, runtime: Runtime, api: ApiClient, *, name: str = "", labels: str = "", pace: Pace | None = None
    ) -> None:
        self._runtime = runtime
        self._name, self._namespace = name, api.namespace
        self._reflector = Reflector(
            api=api, collection=CONFIGMAPS, name=name, labels=labels, pace=pace or Pace(), metrics=runtime.metrics
        )
        self._configmaps = ConfigMaps(namespace=api.namespace, environment=runtime.environment)
        self._laying = Laying(runtime, CHECK)
        self._latest: Objects = {}
        self._news = asyncio.Event()
        self._problems: tuple[ConfigProblem, ...] = ()
        self._said: tuple[str, ...] = ()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ConfigMapWatch]:
        """Take the first state over, and follow it until the end of the block.

        Raises:
            ApiError: The ConfigMaps could not be listed.
            ConfigMapMissing: The one that is named does not exist.
        """
        found = await self._reflector.list()
        if self._name and not found:
            raise ConfigMapMissing(self._name, self._namespace)
        await self._take_over(found)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._reflector.run(self._changed), name="eggycore k8s watch")
            laying = tasks.create_task(self._lay_news(), name="eggycore k8s overlay")
            try:
                yield self
            finally:
                following.cancel()
                laying.cancel()

    def check(self) -> None:
        """The health check.

        Raises:
            Degraded: Not every value that the cluster has is in force.
        """
        reasons = [*self._configmaps.troubles]
        if self._laying.refusal:
            reasons.append(self._laying.refusal)
        trouble = self._reflector.trouble
        if trouble is not None and (seconds := self._reflector.clock() - trouble.since) >= BRIEF:
            reasons.append(f"not watched for {seconds:.0f} s, the last values are kept: {trouble.error}")
        if reasons:
            raise Degraded("; ".join(reasons))

    def _changed(self, objects: Objects) -> None:
        self._latest = objects
        self._news.set()

    async def _lay_news(self) -> None:
        """Lay the latest state, and again when it has changed meanwhile; what lies in between is passed over."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._take_over(self._latest)
            self._runtime.health.look_again(CHECK)

    async def _take_over(self, objects: Objects) -> None:
        before, self._problems = self._problems, self._configmaps.take(objects)
        if self._problems and self._problems != before:
            what = "a ConfigMap is not taken over; its last good values stay"
            log.error(what, reason=explain(ConfigError(self._problems)))
        self._say(*self._configmaps.warnings)
        await self._laying.lay(self._configmaps.layers)

    def _say(self, *warnings: str) -> None:
        for warning in warnings:
            if warning not in self._said:
                log.warn(warning)
        self._said = warnings


def configmap_initializer(
    runtime: Runtime,
    settings: K8sWatchSettings,
    *,
    access: Callable[[], Access] | None = None,
    pace: Pace | None = None,
    timeouts: Timeouts | None = None,
) -> Initializer[ConfigMapWatch]:
    """The step that takes the ConfigMaps over before anything else opens that requires it, and follows them.

    Args:
        runtime: The runtime.
        settings: Which ConfigMaps.
        access: Where the API server is; what the settings and the process environment say when None.
        pace: How often the server is asked when something is wrong.
        timeouts: How long the client waits.
    """
    find = access or partial(find_access, kubeconfig=settings.kubeconfig, context=settings.context)
    wait = timeouts or Timeouts()

    @asynccontextmanager
    async def opened() -> AsyncIterator[ConfigMapWatch]:
        async with ApiClient(find(), namespace=settings.namespace, metrics=runtime.metrics, timeouts=wait) as api:
            name, labels = settings.configmap_name or "", settings.configmap_selector or ""
            async with ConfigMapWatch(runtime, api, name=name, labels=labels, pace=pace).opened() as watch:
                yield watch

    return Initializer(name=CHECK, open=opened, provides=ConfigMapWatch)


def configmap_check(runtime: Runtime) -> HealthCheck:
    """Whether every value that the cluster has is in force. Not critical: the last good ones are."""
    return HealthCheck(name=CHECK, check=lambda: runtime.get(ConfigMapWatch).check(), critical=False)
