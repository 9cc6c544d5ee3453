"""Serves /metrics and takes collectors; prometheus_client is imported when it is needed first, not at start-up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING

from aiohttp import web

from eggycore import Control, EggycoreError, Service
from eggycore.diagnostics import Diagnosis, diagnose
from eggycore_monitoring.exposition import Exposition, TextFormat, expose, wanted_format, wants_gzip

if TYPE_CHECKING:
    from prometheus_client.registry import Collector, CollectorRegistry

    from eggycore import Runtime
    from eggycore.web.routes import Router

__all__ = ["MetricsService", "PrometheusClientMissing"]


@dataclass(eq=False)
class PrometheusClientMissing(EggycoreError):
    """The distribution prometheus-client, which the plugin requires, is not installed."""


@diagnose.register
def _(error: PrometheusClientMissing) -> Diagnosis:
    return Diagnosis(
        description="The package prometheus_client is not installed.",
        cause="eggycore-monitoring requires it; it was removed, or left out with --no-deps.",
        action="Run: pip install prometheus-client",
    )


class MetricsService:
    """The metrics of one runtime, as a scraper reads them.

    Every runtime has a registry of its own: two in one process never mix, and the global one of prometheus_client
    is left alone.

    Args:
        runtime: Whose metrics they are.

    Raises:
        PrometheusClientMissing: It is not installed.

    Example:
        >>> from eggycore import hookimpl
        >>> @hookimpl
        ... def register_services(runtime):
        ...     runtime.get(MetricsService).register_collector(MyCollector())
    """

    def __init__(self, runtime: Runtime) -> None:
        if find_spec("prometheus_client") is None:
            raise PrometheusClientMissing
        self._runtime = runtime
        self._registry: CollectorRegistry | None = None
        self._registry_lock = Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._expositions: dict[tuple[TextFormat, bool], asyncio.Future[Exposition]] = {}

    @property
    def registry(self) -> CollectorRegistry:
        """The registry, for instruments of prometheus_client: `Counter(..., registry=metrics.registry)`."""
        with self._registry_lock:
            if self._registry is None:
                from eggycore_monitoring.collectors import new_registry

                self._registry = new_registry(self._runtime)
            return self._registry

    def register_collector(self, collector: Collector) -> None:
        """Have a collector asked at every scrape, in a thread. When it fails, it is logged and only its metrics miss.

        Args:
            collector: An object with `collect()`; with `describe()` too, names that clash are found at once.

        Raises:
            TypeError: It has no `collect()`, or is the class of a collector.
            ValueError: A metric of this name is registered.
        """
        if isinstance(collector, type) or not callable(getattr(collector, "collect", None)):
            raise TypeError(f"register_collector() takes an object with collect(), not {collector!r}")
        from eggycore_monitoring.collectors import GuardedCollector

        self.registry.register(GuardedCollector(collector))

    def add_routes(self, router: Router) -> None:
        """Record GET /metrics."""
        router.get("/metrics", self.handle)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a scrape in the format that it asks for."""
        text_format = wanted_format(", ".join(request.headers.getall("Accept", ())))
        compress = wants_gzip(request.headers.get("Accept-Encoding", ""))
        exposition = await self._exposed(text_format, compress)
        headers = {
            "Content-Type": exposition.content_type,
            "Cache-Control": "no-store",
            "Vary": "Accept, Accept-Encoding",
        }
        if compress:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=exposition.body, headers=headers)

    def as_service(self) -> Service:
        """What owns the thread in which metrics are collected, for as long as probes are served."""
        return Service(name="metrics", run=self._run, stage="probe", critical=False)

    async def _run(self, control: Control) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="eggycore metrics")
        control.started()
        try:
            await control.stopping.wait()
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    async def _exposed(self, text_format: TextFormat, compress: bool) -> Exposition:
        """The metrics, collected once for all scrapes that come in meanwhile: a storm of them costs one thread."""
        key = (text_format, compress)
        if (exposition := self._expositions.get(key)) is None:
            loop = asyncio.get_running_loop()
            exposition = loop.run_in_executor(self._executor, self._expose, text_format, compress)
            self._expositions[key] = exposition
            exposition.add_done_callback(lambda _: self._expositions.pop(key))
        return await asyncio.shield(exposition)

    def _expose(self, text_format: TextFormat, compress: bool) -> Exposition:
        return expose(self.registry, text_format, compress=compress)
