"""The settings of the k8s-watch plugin."""

from __future__ import annotations

from collections.abc import Iterable

from eggycore.config import Settings, env
from eggycore.errors import ConfigProblem

__all__ = ["K8sWatchSettings"]


class K8sWatchSettings(Settings):
    """Which ConfigMap is watched. This version knows the settings and does not watch yet."""

    enabled: bool = env(
        "ENABLE_K8S_CONFIG_WATCH",
        default=False,
        doc="Whether changes of a ConfigMap are taken over while the process runs; not in this version yet.",
    )
    namespace: str = env("K8S_NAMESPACE", default="default", doc="The Kubernetes namespace of the ConfigMap.")
    configmap_name: str | None = env(
        "K8S_CONFIGMAP_NAME", default=None, default_doc="none", doc="The name of the ConfigMap."
    )

    def problems(self) -> Iterable[ConfigProblem]:
        """What is wrong across the settings."""
        if not self.enabled:
            return
        if self.configmap_name is None:
            yield ConfigProblem(
                key="K8S_CONFIGMAP_NAME",
                reason="needed when ENABLE_K8S_CONFIG_WATCH is true",
                action="Set it to the name of the ConfigMap, or set ENABLE_K8S_CONFIG_WATCH=false.",
            )
        yield ConfigProblem(
            key="ENABLE_K8S_CONFIG_WATCH",
            value="true",
            reason="this version of eggycore-k8s-watch does not watch ConfigMaps yet",
            action="Set ENABLE_K8S_CONFIG_WATCH=false, and restart the pods when the ConfigMap changes"
            " (kubectl rollout restart).",
        )
