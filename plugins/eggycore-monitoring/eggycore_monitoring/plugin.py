"""The door into the plugin: its hooks. prometheus_client is imported by the first scrape, not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eggycore import hookimpl
from eggycore_monitoring.loop_lag import loop_lag_service
from eggycore_monitoring.service import MetricsService
from eggycore_monitoring.settings import MonitoringSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eggycore import Runtime, Service


@hookimpl
def register_settings() -> type[MonitoringSettings]:
    """METRICS_PORT and ENABLE_METRICS."""
    return MonitoringSettings


@hookimpl
def init_infra(runtime: Runtime) -> None:
    """Provide `MetricsService` before anybody registers services, whatever the order of plugins."""
    runtime.provide(MetricsService, MetricsService(runtime))


@hookimpl
def register_services(runtime: Runtime) -> Iterator[Service]:
    """Serve /metrics from before the first initializer until the very end, and watch the event loop."""
    settings = runtime.config[MonitoringSettings]
    if settings.enable_metrics:
        metrics = runtime.get(MetricsService)
        metrics.add_routes(runtime.management(settings.metrics_port, "METRICS_PORT"))
        yield metrics.as_service()
        yield loop_lag_service(runtime.metrics)
