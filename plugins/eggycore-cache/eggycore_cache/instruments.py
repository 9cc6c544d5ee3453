"""The cache's metrics: what is asked of it and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore.metrics import Registry

__all__ = ["Instruments"]


class Instruments:
    """The series of one namespace.

    Args:
        metrics: Where they are declared.
        namespace: The value of their label "namespace"; "default" for the one without a name.
    """

    def __init__(self, metrics: Registry, namespace: str) -> None:
        label = namespace or "default"
        requests = metrics.counter(
            "cache_requests_total", "Values that were asked for, by whether they were found.", ("namespace", "result")
        )
        self.hit = requests.labels(label, "hit").inc
        self.miss = requests.labels(label, "miss").inc
        names = ("namespace",)
        self.entries = metrics.gauge("cache_entries", "Values that the cache holds.", names).labels(label)
        self.bytes = metrics.gauge("cache_size_bytes", "Bytes of the keys and values it holds.", names).labels(label)
        self.evictions = metrics.counter(
            "cache_evictions_total", "Values that were put out to make room.", names
        ).labels(label)
