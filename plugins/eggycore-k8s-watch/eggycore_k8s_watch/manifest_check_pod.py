"""Compares the pods of a workload with the app: ports, volumes, limits, replicas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from eggycore_k8s_watch.manifest_app import App, is_loopback
from eggycore_k8s_watch.manifest_documents import Document
from eggycore_k8s_watch.manifest_findings import Report
from eggycore_k8s_watch.manifest_given import Given
from eggycore_k8s_watch.manifest_workloads import Workload

__all__ = ["check_pod", "most_replicas"]

_DATABASE_PLACES = ("DATABASE_DSN", "DATABASE_DSN_FILE", "DATABASE_HOST", "DB_HOST")


def check_pod(report: Report, workload: Workload, app: App, given: Given, documents: Sequence[Document]) -> None:
    """Compare one workload, beside its probes and its variables."""
    if workload.serves:
        _check_ports(report, workload, app)
        _check_replicas(report, workload, app, given, documents)
        _check_rollout(report, workload)
    _check_links(report, workload, app, documents)
    _check_volumes(report, workload, app)
    _check_resources(report, workload)


def _check_ports(report: Report, workload: Workload, app: App) -> None:
    listening = {port.number for port in app.ports}
    known = ", ".join(f"{port.number} ({port.key})" for port in app.ports)
    for port in app.ports:
        if port.number == 0 and port.key not in app.settings.lacking:
            report.red(
                workload.document,
                workload.container,
                f"{port.key} is 0.",
                "The process takes any free port, which no probe and no Service can name.",
                f"Set {port.key} to a port, or leave it out for its default.",
            )
    for entry in workload.container["ports"].items:
        number = entry["containerPort"].number(0)
        if number not in listening:
            report.red(
                workload.document,
                entry["containerPort"] if entry["containerPort"] else entry,
                f"Nothing of the app listens on containerPort {number}.",
                f"It listens on {known or 'no port at all'}.",
                "Correct the number, or remove the entry.",
            )
    host = str(app.settings.value("BIND_HOST"))
    if is_loopback(host):
        report.red(
            workload.document,
            workload.container,
            f"BIND_HOST is {host}.",
            "Neither the kubelet nor a Service reaches what listens on the loopback of a pod.",
            "Leave BIND_HOST out: in a pod it is 0.0.0.0.",
        )


def most_replicas(workload: Workload, documents: Sequence[Document]) -> int:
    """How many pods there may be at once, as the workload and its autoscaler say."""
    scaled = [
        one.root.at("spec", "maxReplicas").number(1)
        for one in documents
        if one.kind == "HorizontalPodAutoscaler" and scales(one, workload)
    ]
    return max([workload.replicas, *scaled])


def scales(autoscaler: Document, workload: Workload) -> bool:
    """Whether a HorizontalPodAutoscaler is about this workload."""
    target = autoscaler.root.at("spec", "scaleTargetRef")
    return target["kind"].text == workload.document.kind and target["name"].text == workload.document.name


def _check_replicas(report: Report, workload: Workload, app: App, given: Given, documents: Sequence[Document]) -> None:
    replicas = most_replicas(workload, documents)
    if replicas < 2 or not app.is_embedded_allowed or any(name in given.values for name in _DATABASE_PLACES):
        return
    place = workload.document.root.at("spec", "replicas")
    report.red(
        workload.document,
        place if place else workload.container,
        f"There are up to {replicas} replicas, and the database is a file (DATABASE_ALLOW_EMBEDDED).",
        "Each replica has a database of its own.",
        "Put DATABASE_DSN into the Secret, or run one replica.",
    )


def _check_rollout(report: Report, workload: Workload) -> None:
    if workload.document.kind != "Deployment":
        return
    strategy = workload.document.root.at("spec", "strategy")
    place = strategy.at("rollingUpdate", "maxUnavailable")
    most = place.value if place else "25%"
    if strategy["type"].text == "Recreate" or most in (0, "0", "0%") or (not place and workload.replicas < 4):
        return
    report.warning(
        workload.document,
        place if place else workload.document.root["spec"],
        f"maxUnavailable is {most}{'' if place else ' by default'}: pods go before new ones are ready.",
        "The others get their requests meanwhile.",
        "Set strategy.rollingUpdate.maxUnavailable to 0.",
    )


def _check_links(report: Report, workload: Workload, app: App, documents: Sequence[Document]) -> None:
    links = workload.spec["enableServiceLinks"]
    if links.value is False:
        return
    names = {name for one in app.settings.owned.values() for name in one.variable.names}
    for document in documents:
        if document.kind != "Service":
            continue
        prefix = document.name.upper().replace("-", "_")
        taken = sorted(names & {f"{prefix}_{end}" for end in ("PORT", "SERVICE_HOST", "SERVICE_PORT")})
        if taken:
            report.red(
                workload.document,
                links if links else workload.spec,
                f"The Service {document.name} sets {taken[0]} in the pod.",
                "Kubernetes describes every Service in variables, and this one is a setting of the app.",
                "Set enableServiceLinks: false in the spec of the pod.",
            )
            return
    report.warning(
        workload.document,
        links if links else workload.spec,
        "enableServiceLinks is not false.",
        "Kubernetes describes every Service of the namespace in variables, and one may have the name of a setting.",
        "Set enableServiceLinks: false in the spec of the pod.",
    )


def _check_volumes(report: Report, workload: Workload, app: App) -> None:
    volumes = {volume["name"].text: volume for volume in workload.spec["volumes"].items}
    folder = str(app.settings.value("K8S_CONFIG_DIR") or "")
    mounts = workload.container["volumeMounts"].items
    for mount in mounts:
        volume = volumes.get(mount["name"].text)
        changes = volume is not None and any(kind in volume for kind in ("configMap", "secret", "projected"))
        if not changes or ("subPath" not in mount and "subPathExpr" not in mount):
            continue
        path = mount["mountPath"].text
        watched = _is_in(path, folder) or "config" in PurePosixPath(path).parts
        tell = report.red if watched else report.warning
        tell(
            workload.document,
            mount["subPath"] if mount["subPath"] else mount,
            f"{path} is mounted with subPath.",
            "The kubelet never brings such a mount up to date: the process sees no change until it is restarted.",
            "Mount the whole volume as a folder, without subPath.",
        )
    if folder and not any(
        _is_in(folder, mount["mountPath"].text) or _is_in(mount["mountPath"].text, folder) for mount in mounts
    ):
        report.red(
            workload.document,
            workload.container,
            f"Nothing is mounted at {folder} (K8S_CONFIG_DIR).",
            "The app watches a folder that is not there.",
            "Mount the ConfigMap there.",
        )


def _is_in(path: str, folder: str) -> bool:
    return bool(folder) and PurePosixPath(path).is_relative_to(folder)


def _check_resources(report: Report, workload: Workload) -> None:
    resources = workload.container["resources"]
    place = resources if resources else workload.container
    if "memory" not in resources["limits"]:
        report.warning(
            workload.document,
            place,
            "There is no limit of memory.",
            "A leak takes the memory of the node, and the kernel kills whom it likes.",
            "Set resources.limits.memory.",
        )
    if "memory" not in resources["requests"] and "memory" not in resources["limits"]:
        report.warning(
            workload.document,
            place,
            "There is no request of memory.",
            "The scheduler packs the node without counting this pod, and evicts it first.",
            "Set resources.requests.memory and resources.requests.cpu.",
        )
