"""The core's instruments as a collector of prometheus_client."""

from __future__ import annotations

import math
from collections.abc import Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from eggycore import log
from eggycore.metrics import Family, Registry

__all__ = ["CoreCollector"]

_UNITS = ("seconds", "bytes", "ratio")


class CoreCollector:
    """Exports a `Registry` of the core.

    Args:
        metrics: The registry.
    """

    def __init__(self, metrics: Registry) -> None:
        self._metrics = metrics
        self._broken: set[str] = set()

    def collect(self) -> Iterator[Metric]:
        """Every instrument; one whose callback fails has no samples and is logged once."""
        for family in self._metrics.collect():
            self._note(family)
            yield _metric(family)

    def _note(self, family: Family) -> None:
        if family.error is None:
            self._broken.discard(family.name)
        elif family.name not in self._broken:
            self._broken.add(family.name)
            log.warn("a metric's callback fails", metric=family.name, exc=family.error)


def _metric(family: Family) -> Metric:
    name = family.name.removesuffix("_total") if family.kind == "counter" else family.name
    unit = next((unit for unit in _UNITS if name.endswith("_" + unit)), "")
    if family.kind == "histogram":
        return _histogram(family, unit)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(name, family.doc, labels=family.labels, unit=unit)
    for sample in family.samples:
        metric.add_metric(sample.labels, sample.value)
    return metric


def _histogram(family: Family, unit: str) -> Metric:
    metric = HistogramMetricFamily(family.name, family.doc, labels=family.labels, unit=unit)
    for sample in family.samples:
        buckets = [("+Inf" if math.isinf(bound) else repr(bound), float(count)) for bound, count in sample.buckets]
        metric.add_metric(sample.labels, buckets, sample.value)
    return metric
