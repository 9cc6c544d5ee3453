"""The cache's metrics: what is asked of it, what it holds, and which servers answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore.metrics import Registry
    from eggycore_cache.backend import BackendStats

__all__ = ["Instruments"]


class Instruments:
    """The series of one namespace.

    Args:
        metrics: Where they are declared.
        namespace: The value of their label "namespace"; "default" for the one without a name.
    """

    def __init__(self, metrics: Registry, namespace: str) -> None:
        label = namespace or "default"
        names = ("namespace",)
        requests = metrics.counter(
            "cache_requests_total",
            "What was asked of the cache, by outcome; error is no answer, or a value that cannot be read any more.",
            ("namespace", "result"),
        )
        self.hits = requests.labels(label, "hit")
        self.misses = requests.labels(label, "miss")
        self.stale_hits = requests.labels(label, "stale")
        self.errors = requests.labels(label, "error")
        self.local_hits = requests.labels(label, "local_hit")
        self.hit = self.hits.inc
        self.miss = self.misses.inc
        self.error = self.errors.inc
        self.entries = metrics.gauge("cache_entries", "Values that the cache holds.", names).labels(label)
        self.bytes = metrics.gauge("cache_size_bytes", "Bytes of the keys and values it holds.", names).labels(label)
        self.evictions = metrics.counter(
            "cache_evictions_total", "Values that were put out to make room.", names
        ).labels(label)
        self.factory_seconds = metrics.histogram(
            "cache_factory_duration_seconds", "How long it took to make a value that was not in the cache.", names
        ).labels(label)
        self._servers = metrics.gauge("cache_server_up", "Whether a cache server answers (1) or not (0).", ("server",))
        self._servers_seen: set[str] = set()
        self._evictions_seen: int | None = None

    def observe(self, stats: BackendStats) -> None:
        """Take over what servers say of themselves."""
        if stats.entries is not None:
            self.entries.set(stats.entries)
        if stats.bytes is not None:
            self.bytes.set(stats.bytes)
        servers = {server.server: server.state == "closed" for server in stats.servers}
        for name, answers in servers.items():
            self._servers.labels(name).set(float(answers))
        for name in self._servers_seen - servers.keys():  # a node that has left its cluster
            self._servers.remove(name)
        self._servers_seen = set(servers)
        if stats.servers and stats.evictions is not None:
            self._count_evictions(stats.evictions)

    def _count_evictions(self, evictions: int) -> None:
        """Count on from what the servers had when they were first asked; one that restarts begins at 0."""
        if self._evictions_seen is not None and evictions > self._evictions_seen:
            self.evictions.inc(evictions - self._evictions_seen)
        self._evictions_seen = evictions
