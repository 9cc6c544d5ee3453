"""Makes the registry of one runtime, and keeps one broken collector from hiding all the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from eggycore import log
from eggycore_monitoring.core_collector import CoreCollector
from eggycore_monitoring.runtime_collector import RuntimeCollector

if TYPE_CHECKING:
    from eggycore import Runtime

__all__ = ["GuardedCollector", "new_registry"]


class GuardedCollector:
    """A collector that, when it fails, has no metrics and says so in the log, once until it works again.

    Args:
        collector: The collector that may fail.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._is_broken = False

    def collect(self) -> Iterable[Metric]:
        """The collector's metrics: all of them, or none."""
        try:
            metrics = list(self._collector.collect())
        except Exception as error:  # noqa: BLE001  # a supervised border: the code behind it is not ours
            if not self._is_broken:
                name = f"{type(self._collector).__module__}.{type(self._collector).__qualname__}"
                log.warn("a metrics collector fails; its metrics are missing", collector=name, exc=error)
            self._is_broken = True
            return []
        self._is_broken = False
        return metrics

    def describe(self) -> Iterable[Metric]:
        """What the collector says of its metrics beforehand, by which the registry finds names that clash."""
        describe = getattr(self._collector, "describe", None)
        return describe() if describe is not None else []


def new_registry(runtime: Runtime) -> CollectorRegistry:
    """A registry of one runtime: the core's instruments, facts about the runtime, process, platform and GC.

    The `_created` series of prometheus_client, which double every counter, are switched off for the whole process.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
    collectors = CollectorRegistry()
    collectors.register(CoreCollector(runtime.metrics))
    collectors.register(GuardedCollector(RuntimeCollector(runtime)))
    collectors.register(GuardedCollector(ProcessCollector(registry=None)))
    collectors.register(GuardedCollector(PlatformCollector(registry=None)))
    GCCollector(collectors)
    return collectors
