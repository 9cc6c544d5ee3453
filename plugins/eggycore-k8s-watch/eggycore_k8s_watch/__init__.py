"""eggycore-k8s-watch: configuration from a Kubernetes ConfigMap. Importing this package loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore_k8s_watch.settings import K8sWatchSettings

__version__ = "0.1.0"

__all__ = ["K8sWatchSettings"]


def __getattr__(name: str) -> object:
    if name != "K8sWatchSettings":
        raise AttributeError(f"module 'eggycore_k8s_watch' has no attribute {name!r}")
    from eggycore_k8s_watch.settings import K8sWatchSettings

    return K8sWatchSettings
