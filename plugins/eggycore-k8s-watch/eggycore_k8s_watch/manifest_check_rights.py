"""Compares the rights that Roles give to a workload with what the app asks of the API server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eggycore_k8s_watch.manifest_app import App
from eggycore_k8s_watch.manifest_documents import Document, Place
from eggycore_k8s_watch.manifest_findings import Report
from eggycore_k8s_watch.manifest_workloads import Workload
from eggycore_k8s_watch.objects import CONFIGMAPS, LEASES, Collection

__all__ = ["check_rights"]


def check_rights(report: Report, workload: Workload, app: App, documents: Sequence[Document]) -> None:
    """Compare what a workload that serves may do with what it does."""
    if not app.needs_api:
        return
    _check_token(report, workload, documents)
    rules = list(_rules(workload, documents))
    if "api" in app.watch:
        _check_collection(
            report, workload, documents, rules, CONFIGMAPS, str(app.settings.value("K8S_CONFIGMAP_NAME") or "")
        )
    if app.lease:
        _check_collection(report, workload, documents, rules, LEASES, app.lease)


def _account(workload: Workload) -> str:
    return workload.spec["serviceAccountName"].text or "default"


def _check_token(report: Report, workload: Workload, documents: Sequence[Document]) -> None:
    own = workload.spec["automountServiceAccountToken"]
    place, document = own, workload.document
    if not own:
        for one in documents:
            if one.kind == "ServiceAccount" and one.name == _account(workload):
                place, document = one.root["automountServiceAccountToken"], one
    if place.value is False:
        report.red(
            document,
            place,
            "The pod gets no token (automountServiceAccountToken is false).",
            "The app asks the API server for its ConfigMap or its Lease, and cannot say who it is.",
            "Set automountServiceAccountToken: true in the spec of the pod.",
        )


def _rules(workload: Workload, documents: Sequence[Document]) -> Iterator[Place]:
    """The rules of every Role that is bound to the ServiceAccount of the workload."""
    for binding in documents:
        if binding.kind not in ("RoleBinding", "ClusterRoleBinding") or not _binds(binding, workload):
            continue
        role = binding.root["roleRef"]
        for document in documents:
            if document.kind == role["kind"].text and document.name == role["name"].text:
                yield from document.root["rules"].items


def _binds(binding: Document, workload: Workload) -> bool:
    namespace = workload.document.namespace
    for subject in binding.root["subjects"].items:
        there = subject["namespace"].text
        is_near = not namespace or not there or there == namespace
        if subject["kind"].text == "ServiceAccount" and subject["name"].text == _account(workload) and is_near:
            return True
    return False


def _check_collection(
    report: Report,
    workload: Workload,
    documents: Sequence[Document],
    rules: Sequence[Place],
    collection: Collection,
    name: str,
) -> None:
    missing = [verb for verb in collection.verbs if not any(_allows(rule, collection, verb, name) for rule in rules)]
    if not missing:
        return
    object_ = f"{collection.resource}{f' {name}' if name else ''}"
    what = f"ServiceAccount {_account(workload)} may not {', '.join(missing)} {object_}."
    action = "Take the Role and the RoleBinding of: eggycore k8s manifests --kind Role --kind RoleBinding"
    account = workload.spec["serviceAccountName"]
    place = account if account else workload.spec
    if any(one.kind in ("Role", "ClusterRole") for one in documents):
        report.red(workload.document, place, what, "The API server answers 403, and the app does not start.", action)
    else:
        report.warning(
            workload.document,
            place,
            f"No Role here allows ServiceAccount {_account(workload)} to {', '.join(missing)} {object_}.",
            "Without one the API server answers 403, and the app does not start.",
            action,
        )


def _allows(rule: Place, collection: Collection, verb: str, name: str) -> bool:
    groups = [group.text for group in rule["apiGroups"].items]
    resources = [resource.text for resource in rule["resources"].items]
    verbs = [one.text for one in rule["verbs"].items]
    names = [one.text for one in rule["resourceNames"].items]
    if not (
        {collection.group, "*"} & set(groups)
        and {collection.resource, "*"} & set(resources)
        and {verb, "*"} & set(verbs)
    ):
        return False
    # A Role cannot hold what is yet to be made to a name: such a rule allows no create at all.
    return not names or (verb != "create" and name in names)
