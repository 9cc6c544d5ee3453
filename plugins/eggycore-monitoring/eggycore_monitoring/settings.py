"""The settings of the monitoring plugin."""

from __future__ import annotations

from eggycore.config import Settings, env

__all__ = ["MonitoringSettings"]


class MonitoringSettings(Settings):
    """Whether metrics are served, and where."""

    enable_metrics: bool = env("ENABLE_METRICS", default=True, doc="Serve /metrics.")
    metrics_port: int = env(
        "METRICS_PORT",
        default=9091,
        listens="management",
        when="ENABLE_METRICS",
        doc="Port of /metrics; the health probes may share it.",
    )
