"""Which objects run the app: their pods, and in them its container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from eggycore_k8s_watch.manifest_documents import Document, Place

__all__ = ["Workload", "find_workloads"]

_LONG_RUNNING = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")


@dataclass(frozen=True)
class Workload:
    """An object that makes pods of the app, or is one.

    Args:
        document: The object.
        pod: The pod, or its template: metadata and spec.
        container: The container of the app.
        serves: Whether it is to run until it is stopped, not to come to an end like a Job.
    """

    document: Document
    pod: Place
    container: Place
    serves: bool

    @property
    def spec(self) -> Place:
        """The spec of the pod."""
        return self.pod["spec"]

    @property
    def replicas(self) -> int:
        """How many pods it asks for; 1 when it does not say."""
        return self.document.root.at("spec", "replicas").number(1)

    def is_selected_by(self, selector: Place, namespace: str) -> bool:
        """Whether labels select its pods; no labels select none."""
        wanted, labels = selector.labels, self.pod.at("metadata", "labels").labels
        same = not namespace or not self.document.namespace or namespace == self.document.namespace
        return same and bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())

    def port_named(self, name: str) -> int | None:
        """The number of a port that a container of the pod names."""
        for container in self.spec["containers"].items:
            for port in container["ports"].items:
                if port["name"].text == name:
                    return port["containerPort"].number(0)
        return None


def find_workloads(documents: Sequence[Document], names: Iterable[str], numbers: Iterable[int]) -> list[Workload]:
    """The objects that run the app.

    A container that runs the `eggycore` command is the app's. Where none does, because the image says what is run,
    it is one that sets a variable of the app or has one of its ports, and in the end the only one that there is.

    Args:
        documents: All objects.
        names: The variables of the app and its plugins.
        numbers: The ports of the app by default.
    """
    candidates = [
        (document, pod, container)
        for document in documents
        for pod in _pods(document)
        for container in pod.at("spec", "containers").items
    ]
    known, ports = set(names), set(numbers)
    for belongs in (_runs_eggycore, lambda container: _is_configured(container, known, ports)):
        found = [one for one in candidates if belongs(one[2])]
        if found:
            return list(_workloads(found))
    return list(_workloads(candidates)) if len(candidates) == 1 else []


def _workloads(found: Iterable[tuple[Document, Place, Place]]) -> Iterator[Workload]:
    for document, pod, container in found:
        words = [word.text for word in (*container["command"].items, *container["args"].items)]
        one_off = document.kind in ("Job", "CronJob") or ("eggycore" in " ".join(words) and "run" not in words)
        yield Workload(document, pod, container, serves=not one_off)


def _pods(document: Document) -> Iterator[Place]:
    if document.kind == "Pod":
        yield document.root
    elif document.kind in (*_LONG_RUNNING, "Job"):
        yield document.root.at("spec", "template")
    elif document.kind == "CronJob":
        yield document.root.at("spec", "jobTemplate", "spec", "template")


def _runs_eggycore(container: Place) -> bool:
    words = (word.text for word in (*container["command"].items, *container["args"].items))
    return any("eggycore" in word.split() or word.endswith("/eggycore") for word in words)


def _is_configured(container: Place, known: set[str], ports: set[int]) -> bool:
    sets = (entry["name"].text for entry in container["env"].items)
    return any(name in known for name in sets) or any(
        port["containerPort"].number(0) in ports for port in container["ports"].items
    )
