"""Compares what stands around the pods with the app: Services, autoscalers, budgets, monitors."""

from __future__ import annotations

from collections.abc import Sequence

from eggycore_k8s_watch.manifest_app import App
from eggycore_k8s_watch.manifest_check_pod import most_replicas, scales
from eggycore_k8s_watch.manifest_documents import Document, Place
from eggycore_k8s_watch.manifest_findings import Report
from eggycore_k8s_watch.manifest_workloads import Workload

__all__ = ["check_objects"]


def check_objects(report: Report, documents: Sequence[Document], serving: Sequence[tuple[Workload, App]]) -> None:
    """Compare every object that is about the pods of a workload."""
    for document in documents:
        for workload, app in serving:
            if document.kind == "Service":
                _check_service(report, document, workload, app)
            elif document.kind == "HorizontalPodAutoscaler" and scales(document, workload):
                _check_autoscaler(report, document, workload)
            elif document.kind == "PodDisruptionBudget":
                _check_budget(report, document, workload, documents)
            elif document.kind == "ServiceMonitor":
                _check_monitor(report, document, documents, workload, app)


def _check_service(report: Report, document: Document, workload: Workload, app: App) -> None:
    spec = document.root["spec"]
    if not workload.is_selected_by(spec["selector"], document.namespace):
        return
    listening = {port.number for port in app.ports}
    for port in spec["ports"].items:
        place = port["targetPort"] if port["targetPort"] else port["port"]
        target = _target(place, workload)
        shown = place.text or place.number(0)
        known = ", ".join(f"{one.number} ({one.key})" for one in app.ports)
        if target is None:
            report.red(
                document,
                place,
                f"targetPort {shown} is the name of no port of the pod.",
                "The Service sends nobody anywhere.",
                f"Name a port in `ports` of the container so, or use the number: {known}.",
            )
        elif target not in listening:
            report.red(
                document,
                place,
                f"Nothing of the app listens on targetPort {shown}{'' if shown == target else f', which is {target}'}.",
                f"Callers are refused; the app listens on {known or 'no port at all'}.",
                "Set targetPort to one of these.",
            )


def _target(place: Place, workload: Workload) -> int | None:
    if place.text and not place.text.isdecimal():
        return workload.port_named(place.text)
    return int(place.text or place.number(0))


def _check_autoscaler(report: Report, document: Document, workload: Workload) -> None:
    replicas = workload.document.root.at("spec", "replicas")
    if replicas:
        report.red(
            workload.document,
            replicas,
            f"replicas is {replicas.number(0)}, and HorizontalPodAutoscaler {document.name} sets it too.",
            "Every apply sets the number back to that, in the middle of load.",
            "Remove replicas here; minReplicas of the autoscaler is the least.",
        )


def _check_budget(report: Report, document: Document, workload: Workload, documents: Sequence[Document]) -> None:
    spec = document.root["spec"]
    if not workload.is_selected_by(spec.at("selector", "matchLabels"), document.namespace):
        return
    unavailable, available = spec["maxUnavailable"], spec["minAvailable"]
    least = min([workload.replicas, most_replicas(workload, documents)])
    none = unavailable.value in (0, "0", "0%") or available.value == "100%"
    if none or (available and available.number(0) >= max(least, 1)):
        report.warning(
            document,
            unavailable if unavailable else available,
            "The budget lets no pod go.",
            "No node with one of them can be drained, and an upgrade of the cluster stops there.",
            "Set maxUnavailable to 1 instead.",
        )


def _check_monitor(
    report: Report, document: Document, documents: Sequence[Document], workload: Workload, app: App
) -> None:
    wanted = document.root.at("spec", "selector", "matchLabels").labels
    services = [
        one
        for one in documents
        if one.kind == "Service"
        and wanted
        and wanted.items() <= one.root.at("metadata", "labels").labels.items()
        and workload.is_selected_by(one.root.at("spec", "selector"), one.namespace)
    ]
    for endpoint in document.root.at("spec", "endpoints").items:
        for service in services:
            _check_endpoint(report, document, endpoint, service, workload, app)


def _check_endpoint(
    report: Report, document: Document, endpoint: Place, service: Document, workload: Workload, app: App
) -> None:
    name = endpoint["port"]
    ports = {port["name"].text: port for port in service.root.at("spec", "ports").items}
    if app.metrics is None:
        report.red(
            document,
            endpoint,
            "The app serves no metrics.",
            "Prometheus would report the target as down.",
            "Select the monitoring plugin and leave ENABLE_METRICS out, or remove the ServiceMonitor.",
        )
    elif name.text not in ports:
        report.red(
            document,
            name if name else endpoint,
            f"Service {service.name} has no port named {name.text!r}.",
            "Prometheus finds nothing to ask.",
            f"Add the port {app.metrics.number} to the Service under that name.",
        )
    else:
        entry = ports[name.text]
        target = _target(entry["targetPort"] if entry["targetPort"] else entry["port"], workload)
        path = endpoint["path"].text or "/metrics"
        if target != app.metrics.number or path != "/metrics":
            report.red(
                document,
                endpoint,
                f"Prometheus asks {path} on port {target}, and the metrics are on {app.metrics.number} (METRICS_PORT).",
                "It gets no metrics.",
                f"Lead the port to {app.metrics.number}, with the path /metrics.",
            )
