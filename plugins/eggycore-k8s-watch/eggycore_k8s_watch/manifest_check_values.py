"""Compares what a pod is given with the variables of the app: names, values, secrets, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eggycore.config.declared import FILE_SUFFIX
from eggycore.config.near import one_edit_apart
from eggycore.diagnostics import nearest
from eggycore.errors import ConfigProblem
from eggycore_k8s_watch.manifest_app import App
from eggycore_k8s_watch.manifest_documents import Document, Place
from eggycore_k8s_watch.manifest_findings import Report
from eggycore_k8s_watch.manifest_given import Given, GivenValue
from eggycore_k8s_watch.manifest_settings import PodSettings
from eggycore_k8s_watch.manifest_workloads import Workload

__all__ = ["check_values", "overlay_of"]

_OTHERS = re.compile(
    r"POD_\w+|NODE_NAME|HOST_IP|EGGYCORE_\w+|PYTHON\w+|LC_\w+|MALLOC_\w+|OTEL_\w+|GRPC_\w+|SSL_CERT_\w+|LD_PRELOAD"
    r"|HOME|HOSTNAME|KUBERNETES_\w+|LANG|LANGUAGE|PATH|TERM|TMPDIR|TZ|USER|(?i:\w+_proxy)|NO_COLOR|FORCE_COLOR"
)
"""Variables that somebody else than settings reads: Python, its libraries, the runtime before it is configured."""

_PASSWORD_IN_URL = re.compile(r"://[^:/@\s]*:[^@\s/]+@")


@dataclass(frozen=True)
class Overlay:
    """The ConfigMaps among the objects that the app watches.

    Args:
        entries: Every key, with the ConfigMap that holds it.
        environ: What of it the app takes over.
    """

    entries: tuple[GivenValue, ...]
    environ: dict[str, str]


def overlay_of(settings: PodSettings, workload: Workload, given: Given, documents: Sequence[Document]) -> Overlay:
    """What the ConfigMap says that this workload watches, by its name or mounted."""
    entries = tuple(_overlay_entries(workload, given, documents))
    taken = {one.name: one.text for one in entries if one.text is not None and _may_overlay(settings, one.name)}
    return Overlay(entries, taken)


def _overlay_entries(workload: Workload, given: Given, documents: Sequence[Document]) -> Iterator[GivenValue]:
    if given.environ.get("ENABLE_K8S_CONFIG_WATCH", "").lower() not in ("1", "true", "yes", "on"):
        return
    names = {given.environ.get("K8S_CONFIGMAP_NAME")}
    folder = given.environ.get("K8S_CONFIG_DIR")
    if folder:
        names |= set(_mounted_at(workload, folder))
    for document in documents:
        if document.kind == "ConfigMap" and document.name in names:
            for key, value in document.root["data"].fields:
                if not key.endswith((".json", ".toml", ".yaml", ".yml")):
                    yield GivenValue(key, "configmap", document, value, value.text or str(value.value))


def _mounted_at(workload: Workload, folder: str) -> Iterator[str]:
    volumes = {volume["name"].text: volume for volume in workload.spec["volumes"].items}
    for mount in workload.container["volumeMounts"].items:
        volume = volumes.get(mount["name"].text)
        if volume is not None and mount["mountPath"].text.rstrip("/") == folder.rstrip("/"):
            yield volume.at("configMap", "name").text


def _may_overlay(settings: PodSettings, key: str) -> bool:
    one = settings.owned.get(key)
    return one is not None and one.variable.reload and not one.variable.kind.secret


def check_values(report: Report, workload: Workload, app: App, given: Given, documents: Sequence[Document]) -> None:
    """Compare everything that the app's container of a workload is given."""
    settings = app.settings
    for one in given.values.values():
        _check_name(report, settings, one)
        _check_secret(report, settings, one)
        _check_type(report, one)
    for one in given.repeated:
        report.warning(
            one.document,
            one.place,
            f"{one.name} is set twice in one container.",
            "The later one counts, and this one does not.",
            "Remove one of the two.",
        )
    overlay = overlay_of(settings, workload, given, documents)
    for one in overlay.entries:
        _check_overlay(report, settings, one)
    places = given.values | {one.name: one for one in overlay.entries if one.name in overlay.environ}
    for problem in settings.problems:
        _tell(report, workload, settings, given, places, problem)
    for key, problem in settings.lacking.items():
        if not any(name in given.values for name in _names(settings, key)):
            _tell(report, workload, settings, given, places, problem)
    if "ENVIRONMENT" not in given.values and not given.elsewhere:
        report.warning(
            workload.document,
            workload.container,
            "ENVIRONMENT is not set.",
            "The pod runs as development, with the defaults of a laptop.",
            "Set ENVIRONMENT to production or staging.",
        )


def _names(settings: PodSettings, key: str) -> list[str]:
    names = settings.owned[key].variable.names
    return [*names, *(name + FILE_SUFFIX for name in names)]


def _check_name(report: Report, settings: PodSettings, one: GivenValue) -> None:
    if settings.by_name(one.name) is not None or _OTHERS.fullmatch(one.name):
        return
    if one.origin == "secret" and one.place is not one.document.root and one.document.kind == "Secret":
        return  # a Secret may hold what others read too
    known = [name for owned in settings.owned.values() for name in owned.variable.names]
    slip = next((name for name in known if one_edit_apart(one.name.upper(), name)), None)
    meant = slip or nearest(one.name.upper(), known)
    guess = f" Did you mean {meant!r}?" if meant else ""
    what = f"Nobody reads {one.name}.{guess}"
    why = "It is no variable of eggycore, of the app or of its plugins, so what it says has no effect."
    if slip:
        report.red(one.document, one.place, what, why, f"Write {slip}.")
    else:
        report.warning(
            one.document, one.place, what, why, "Correct the name, remove it, or select the plugin that has it."
        )


def _check_secret(report: Report, settings: PodSettings, one: GivenValue) -> None:
    owned = settings.by_name(one.name)
    is_file = owned is not None and one.name not in owned.variable.names
    is_secret = owned is not None and owned.variable.kind.secret and not is_file
    if one.origin == "secret" and one.document.kind == "Secret" and one.place.text:
        report.warning(
            one.document,
            one.place,
            f"The Secret in this file holds {one.name}.",
            "What lies beside the code is read by everybody who reads the code; base64 hides nothing.",
            "Make the Secret with kubectl or your secret store, and keep it out of the manifests.",
        )
    elif one.text and (is_secret or _PASSWORD_IN_URL.search(one.text)):
        report.red(
            one.document,
            one.place,
            f"{one.name} is written in plain text.",
            "Whoever may read the manifest, or the pod, reads the secret.",
            "Put it into a Secret, and refer to it with valueFrom.secretKeyRef.",
        )


def _check_type(report: Report, one: GivenValue) -> None:
    value = one.place.value
    if one.origin in ("text", "configmap") and isinstance(value, bool | int | float):
        report.red(
            one.document,
            one.place,
            f"The value of {one.name} is not a string.",
            "The API server refuses the object: values are strings there.",
            "Put it into quotes.",
        )


def _check_overlay(report: Report, settings: PodSettings, one: GivenValue) -> None:
    _check_secret(report, settings, one)
    _check_type(report, one)
    owned = settings.owned.get(one.name)
    if owned is None:
        meant = nearest(one.name.upper(), settings.owned)
        guess = f" Did you mean {meant!r}?" if meant else ""
        report.warning(
            one.document,
            one.place,
            f"Nobody reads {one.name}.{guess}",
            "A key of the ConfigMap that is no variable is ignored and reported.",
            "Correct the name, or remove it.",
        )
    elif not owned.variable.reload:
        report.red(
            one.document,
            one.place,
            f"{one.name} stands in the ConfigMap, and only a restart could change it.",
            "Such a key is ignored: whoever may edit the ConfigMap is to change what a running process may change.",
            "Set it in `env` of the container.",
        )


def _tell(
    report: Report,
    workload: Workload,
    settings: PodSettings,
    given: Given,
    places: dict[str, GivenValue],
    problem: ConfigProblem,
) -> None:
    owned = settings.by_name(problem.key)
    names = _names(settings, owned.variable.key) if owned is not None else [problem.key]
    if any(given.is_unknown(name) for name in names):
        return  # it is set, to what only the cluster knows
    source = next((places[name] for name in names if name in places), None)
    document = source.document if source is not None else workload.document
    place: Place = source.place if source is not None else workload.container
    shown = f" {problem.value!r}" if problem.value is not None else ""
    what = f"{problem.key}{shown}: {problem.reason}."
    unsure = given.elsewhere or any(
        given.is_unknown(key) for key, one in settings.owned.items() if owned is not None and one.owner == owned.owner
    )
    if unsure and source is None:
        where = f" It may be in {given.elsewhere[0][0]}, which is not here." if given.elsewhere else ""
        report.warning(
            document, place, what, f"As far as it can be seen here, the app would not start.{where}", problem.action
        )
    else:
        overlaid = source is not None and source.name not in given.values
        why = "The app keeps the value that it has." if overlaid else "The app refuses it, and does not start."
        report.red(document, place, what, why, problem.action)
