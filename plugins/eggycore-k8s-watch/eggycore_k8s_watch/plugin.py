"""The door into the plugin: what it declares to the runtime. What it does not use it does not import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from eggycore.hookspecs import hookimpl
from eggycore_k8s_watch.leadership_settings import LeadershipSettings
from eggycore_k8s_watch.settings import K8sWatchSettings

if TYPE_CHECKING:
    from eggycore.runtime import Runtime
    from eggycore.types import HealthCheck, Initializer, Service


@hookimpl
def register_settings() -> tuple[type[K8sWatchSettings], type[LeadershipSettings]]:
    """ENABLE_K8S_CONFIG_WATCH and K8S_*."""
    return K8sWatchSettings, LeadershipSettings


@hookimpl
def init_infra(runtime: Runtime) -> Iterator[Initializer[Any]]:
    """Take over the ConfigMaps and follow them; provide leadership."""
    settings = runtime.config[K8sWatchSettings]
    if settings.uses_api:
        from eggycore_k8s_watch.configmaps import configmap_initializer

        yield configmap_initializer(runtime, settings)
    if settings.config_dir is not None and settings.uses_mount:
        from eggycore_k8s_watch.mounted import mount_initializer

        yield mount_initializer(runtime, runtime.folder / settings.config_dir)
    if runtime.config[LeadershipSettings].mode == "alone":
        from eggycore_k8s_watch.alone import alone_initializer

        yield alone_initializer(runtime)
    else:
        from eggycore_k8s_watch.leadership import LeaseLeadership
        from eggycore_k8s_watch.leadership_parts import elected, leadership_initializer

        leadership = elected(runtime)
        runtime.provide(LeaseLeadership, leadership)
        yield leadership_initializer(runtime, leadership)


@hookimpl
def register_services(runtime: Runtime) -> Iterator[Service]:
    """Contend for the Lease."""
    if runtime.config[LeadershipSettings].mode == "lease":
        from eggycore_k8s_watch.leadership import LeaseLeadership
        from eggycore_k8s_watch.leadership_parts import election_service

        yield election_service(runtime.get(LeaseLeadership))


@hookimpl
def register_health_checks(runtime: Runtime) -> Iterator[HealthCheck]:
    """Whether the values that the cluster has are in force, and whether leadership can be had."""
    settings = runtime.config[K8sWatchSettings]
    if settings.uses_api:
        from eggycore_k8s_watch.configmaps import configmap_check

        yield configmap_check(runtime)
    if settings.uses_mount:
        from eggycore_k8s_watch.mounted import mount_check

        yield mount_check(runtime)
    if runtime.config[LeadershipSettings].mode == "lease":
        from eggycore_k8s_watch.leadership import LeaseLeadership
        from eggycore_k8s_watch.leadership_parts import leadership_check

        yield leadership_check(runtime.get(LeaseLeadership))
