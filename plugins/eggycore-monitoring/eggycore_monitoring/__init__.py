"""eggycore-monitoring: /metrics for Prometheus and OpenMetrics. Importing this package loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore_monitoring.service import MetricsService, PrometheusClientMissing
    from eggycore_monitoring.settings import MonitoringSettings

__version__ = "0.1.0"

_HOME = {
    "MetricsService": "service",
    "MonitoringSettings": "settings",
    "PrometheusClientMissing": "service",
}

__all__ = ["MetricsService", "MonitoringSettings", "PrometheusClientMissing"]


def __getattr__(name: str) -> object:
    if (home := _HOME.get(name)) is None:
        raise AttributeError(f"module 'eggycore_monitoring' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"eggycore_monitoring.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
