"""The door into the plugin: what it declares to the runtime."""

from __future__ import annotations

from eggycore.hookspecs import hookimpl
from eggycore_k8s_watch.settings import K8sWatchSettings


@hookimpl
def register_settings() -> type[K8sWatchSettings]:
    """ENABLE_K8S_CONFIG_WATCH and K8S_*."""
    return K8sWatchSettings
