"""The settings of the k8s-watch plugin: where the cluster is, and which ConfigMaps are watched."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from eggycore.config import Settings, env
from eggycore.errors import ConfigProblem

__all__ = ["K8sWatchSettings"]

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


class K8sWatchSettings(Settings):
    """Which ConfigMaps are watched, and how the API server is reached."""

    enabled: bool = env(
        "ENABLE_K8S_CONFIG_WATCH",
        default=False,
        doc="Take changes of ConfigMaps over while the process runs; needs K8S_CONFIGMAP_NAME,"
        " K8S_CONFIGMAP_SELECTOR or K8S_CONFIG_DIR.",
    )
    namespace: str | None = env(
        "K8S_NAMESPACE",
        default=None,
        default_doc="the pod's, else that of the kubeconfig's context",
        doc="The Kubernetes namespace of the ConfigMaps and of the Lease.",
    )
    configmap_name: str | None = env(
        "K8S_CONFIGMAP_NAME",
        default=None,
        default_doc="none",
        doc="The ConfigMap that is watched through the API.",
    )
    configmap_selector: str | None = env(
        "K8S_CONFIGMAP_SELECTOR",
        default=None,
        default_doc="none",
        doc='Label selector of the ConfigMaps that are watched through the API, such as "app=forms"; of two that set'
        " the same, the one counts whose name is later in the alphabet.",
    )
    config_dir: Path | None = env(
        "K8S_CONFIG_DIR",
        default=None,
        default_doc="none",
        doc="Folder in which a ConfigMap is mounted, to be watched without the API.",
    )
    kubeconfig: Path | None = env(
        "K8S_KUBECONFIG",
        default=None,
        default_doc="the pod's ServiceAccount; outside a pod KUBECONFIG, else ~/.kube/config",
        doc="A kubeconfig that says where the API server is.",
    )
    context: str | None = env(
        "K8S_CONTEXT",
        default=None,
        default_doc="the current context",
        doc="The context of the kubeconfig.",
    )

    @property
    def uses_api(self) -> bool:
        """Whether ConfigMaps are watched through the API."""
        return self.enabled and (self.configmap_name is not None or self.configmap_selector is not None)

    @property
    def uses_mount(self) -> bool:
        """Whether a mounted ConfigMap is watched."""
        return self.enabled and self.config_dir is not None

    def problems(self) -> Iterable[ConfigProblem]:
        """What is wrong across the settings."""
        if self.namespace is not None and not _NAMESPACE.fullmatch(self.namespace):
            yield ConfigProblem(
                key="K8S_NAMESPACE",
                value=self.namespace,
                reason="no name of a namespace",
                action="Use up to 63 lower-case letters, digits and hyphens, as kubectl get namespaces shows it.",
            )
        if self.configmap_name is not None and not _NAME.fullmatch(self.configmap_name):
            yield ConfigProblem(
                key="K8S_CONFIGMAP_NAME",
                value=self.configmap_name,
                reason="no name of a ConfigMap",
                action="Use lower-case letters, digits, hyphens and dots, as kubectl get configmaps shows it.",
            )
        if self.configmap_name is not None and self.configmap_selector is not None:
            yield ConfigProblem(
                key="K8S_CONFIGMAP_SELECTOR",
                value=self.configmap_selector,
                reason="set together with K8S_CONFIGMAP_NAME",
                action="Remove one of the two; give the one ConfigMap the label to have it selected with others.",
            )
        if self.enabled and not (self.uses_api or self.uses_mount):
            yield ConfigProblem(
                key="ENABLE_K8S_CONFIG_WATCH",
                value="true",
                reason="nothing is named that could be watched",
                action="Set K8S_CONFIGMAP_NAME, K8S_CONFIGMAP_SELECTOR or K8S_CONFIG_DIR,"
                " or set ENABLE_K8S_CONFIG_WATCH=false.",
            )
