"""What the runtime knows of itself, as a collector: build, plugins, configuration, start-up, log."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

import eggycore
from eggycore import log

if TYPE_CHECKING:
    from eggycore import Runtime

__all__ = ["RuntimeCollector"]

WAY_UP = frozenset({"import", "settings", "configure", "plan", "open", "start", "ready"})
"""The phases of the timeline that belong to start-up."""


class RuntimeCollector:
    """Exports facts about one runtime.

    Args:
        runtime: The runtime.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        yield InfoMetricFamily(
            "eggycore_build",
            "Version of eggycore and of the Python it runs on.",
            {"version": eggycore.__version__, "python": platform.python_version()},
        )
        yield self._plugins()
        yield from self._config()
        yield self._startup()
        yield CounterMetricFamily(
            "eggycore_log_dropped_lines", "Log lines dropped because a log target was too slow or full.", log.dropped()
        )

    def _plugins(self) -> Metric:
        metric = InfoMetricFamily("eggycore_plugin", "Plugins that were selected, and the app.", labels=["plugin"])
        for record in self._runtime.plugins.records:
            if record.state != "not selected":
                facts = {"dist": record.dist, "version": record.version, "state": record.state}
                metric.add_metric([record.name], facts)
        return metric

    def _config(self) -> Iterator[Metric]:
        config = self._runtime.config
        yield InfoMetricFamily(
            "eggycore_config",
            "Hash of the configuration without its secrets: equal where replicas are configured alike.",
            {"digest": config.digest()},
        )
        yield GaugeMetricFamily(
            "eggycore_config_generation", "Generation of the configuration; a reload makes the next.", config.generation
        )

    def _startup(self) -> Metric:
        metric = GaugeMetricFamily(
            "eggycore_startup_seconds",
            "How long each component took in each phase of start-up.",
            labels=["component", "phase"],
            unit="seconds",
        )
        first: dict[tuple[str, str], float] = {}
        for span in self._runtime.timeline.spans:
            if span.phase in WAY_UP:  # later spans of the same name are restarts
                first.setdefault((span.component or "runtime", span.phase), span.seconds)
        for labels, seconds in first.items():
            metric.add_metric(labels, seconds)
        return metric
