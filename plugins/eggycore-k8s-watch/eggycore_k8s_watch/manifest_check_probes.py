"""Compares probes and deadlines of a workload with those of the app."""

from __future__ import annotations

import math
from typing import Final

from eggycore_k8s_watch.manifest_app import GRACE_MARGIN, App, Port
from eggycore_k8s_watch.manifest_documents import Document, Place
from eggycore_k8s_watch.manifest_findings import Report
from eggycore_k8s_watch.manifest_workloads import Workload

__all__ = ["check_probes"]

_PATHS: Final = {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
_KINDS: Final = {"startupProbe": "startup", "readinessProbe": "ready", "livenessProbe": "live"}
_WHY: Final = {
    "startupProbe": "Until it passes nothing else is asked, and while it does not the pod is restarted for ever.",
    "readinessProbe": "It decides whether the pod gets traffic: one that starts or drains must not.",
    "livenessProbe": "It restarts the pod: if it looks at a database, every replica is restarted when that is away.",
}
_DEFAULT_GRACE = 30
_LEAST_PATIENCE = 20
"""Seconds of silence that a process may have for a good reason: a burst of work, a neighbour that takes the CPU."""


def check_probes(report: Report, workload: Workload, app: App) -> None:
    """Compare the probes, and the time to stop, of a workload that serves."""
    container, document = workload.container, workload.document
    if app.health is None:
        report.red(
            document,
            container,
            "ENABLE_HEALTH_CHECK is false.",
            "No probe is answered, so the kubelet cannot tell a pod that serves from one that does not.",
            "Take it out.",
        )
        return
    for name in _PATHS:
        if name in container:
            _check_probe(report, workload, app, app.health, name)
    _check_missing(report, document, container, app)
    _check_times(report, document, container, app)
    _check_stop(report, workload, app)


def _check_probe(report: Report, workload: Workload, app: App, health: Port, name: str) -> None:
    probe, document = workload.container[name], workload.document
    if "httpGet" in probe:
        _check_get(report, workload, app, health, name)
    elif "tcpSocket" in probe:
        report.red(
            document,
            probe["tcpSocket"],
            f"{name} only opens a connection.",
            "The port is open while the app starts, drains and is broken.",
            f"Use httpGet with path {_PATHS[name]} and port {health.number}.",
        )
    elif "exec" in probe:
        words = [word.text for word in probe.at("exec", "command").items]
        if "probe" in words and _KINDS[name] not in words and not (name == "readinessProbe" and words[-1] == "probe"):
            report.red(
                document,
                probe["exec"],
                f"{name} asks for another probe.",
                _WHY[name],
                f"Write eggycore probe {_KINDS[name]}, or better httpGet with path {_PATHS[name]}.",
            )
        elif "probe" in words:
            report.warning(
                document,
                probe["exec"],
                f"{name} starts a process each time.",
                "That takes a tenth of a second of CPU, which httpGet does not.",
                f"Use httpGet with path {_PATHS[name]} and port {health.number}.",
            )


def _check_get(report: Report, workload: Workload, app: App, health: Port, name: str) -> None:
    get, document = workload.container.at(name, "httpGet"), workload.document
    port = _port(get["port"], workload)
    if port is None:
        report.red(
            document,
            get["port"],
            f"{name} asks the port {get['port'].text!r}, which no container of the pod names.",
            "The probe fails always.",
            f"Set port to {health.number}, or name that port in `ports`.",
        )
    elif port != health.number:
        asked = next((f" ({one.key})" for one in app.ports if one.number == port), "")
        report.red(
            document,
            get["port"],
            f"{name} asks port {port}{asked}, and the probes are on {health.number} (HEALTH_CHECK_PORT).",
            "The probe fails always, or asks something else.",
            f"Set port to {health.number}.",
        )
    path = get["path"].text.partition("?")[0] or "/"
    if not _fits(name, path):
        report.red(
            document,
            get["path"] if get["path"] else get,
            f"{name} asks {path}, which is not what it is for.",
            _WHY[name],
            f"Set path to {_PATHS[name]}.",
        )
    if get["scheme"].text.upper() == "HTTPS":
        report.red(
            document,
            get["scheme"],
            f"{name} asks over HTTPS.",
            "The probes are served without TLS.",
            "Leave scheme out.",
        )


def _fits(name: str, path: str) -> bool:
    if name == "readinessProbe":
        return path in ("/readyz", "/healthz")
    return path == _PATHS[name] or (name == "startupProbe" and path in ("/readyz", "/healthz"))


def _port(place: Place, workload: Workload) -> int | None:
    return (
        workload.port_named(place.text)
        if place.text and not place.text.isdecimal()
        else int(place.text or place.number(0))
    )


def _check_missing(report: Report, document: Document, container: Place, app: App) -> None:
    health = app.health
    assert health is not None  # looked at before
    fix = "Add httpGet with path {} and port {}."
    if "readinessProbe" not in container:
        report.red(
            document,
            container,
            "There is no readinessProbe.",
            "The pod gets traffic while it starts, and while it cannot serve.",
            fix.format("/readyz", health.number),
        )
    if "startupProbe" not in container:
        if "livenessProbe" in container:
            seconds = f"{app.settings.number('STARTUP_TIMEOUT'):g}"
            report.red(
                document,
                container["livenessProbe"],
                "There is a livenessProbe and no startupProbe.",
                f"A start may take {seconds} s (STARTUP_TIMEOUT), and the kubelet kills the process long before.",
                fix.format("/startupz", health.number),
            )
        else:
            report.warning(
                document,
                container,
                "There is no startupProbe.",
                "A start that hangs is never ended.",
                fix.format("/startupz", health.number),
            )
    if "livenessProbe" not in container:
        report.warning(
            document,
            container,
            "There is no livenessProbe.",
            "A process that hangs is never restarted.",
            fix.format("/livez", health.number),
        )


def _check_times(report: Report, document: Document, container: Place, app: App) -> None:
    if "startupProbe" in container:
        probe, timeout = container["startupProbe"], app.settings.number("STARTUP_TIMEOUT")
        seconds = probe["initialDelaySeconds"].number(0) + _patience(probe)
        if seconds <= timeout:
            period = probe["periodSeconds"].number(10)
            report.red(
                document,
                probe,
                f"startupProbe gives up after {seconds} s, and a start may take {timeout:g} s (STARTUP_TIMEOUT).",
                "The kubelet kills the process before it can say what it waits for.",
                f"Set failureThreshold to {math.ceil((timeout + 30) / period)} (with periodSeconds {period}).",
            )
    threshold = container.at("readinessProbe", "failureThreshold")
    if "readinessProbe" in container and threshold.number(3) != 1:
        report.warning(
            document,
            threshold if threshold else container["readinessProbe"],
            f"readinessProbe needs {threshold.number(3)} red answers.",
            "The app has thresholds of its own: the first red answer is meant, and until then requests fail.",
            "Set failureThreshold to 1.",
        )
    if "livenessProbe" in container and _patience(container["livenessProbe"]) < _LEAST_PATIENCE:
        report.warning(
            document,
            container["livenessProbe"],
            f"livenessProbe restarts the pod after {_patience(container['livenessProbe'])} s of silence.",
            "A busy node makes a process silent for seconds, and a restart loses what is in flight.",
            "Set periodSeconds to 10 and failureThreshold to 6.",
        )


def _patience(probe: Place) -> int:
    return probe["periodSeconds"].number(10) * probe["failureThreshold"].number(3)


def _check_stop(report: Report, workload: Workload, app: App) -> None:
    document, spec = workload.document, workload.spec
    place = spec["terminationGracePeriodSeconds"]
    grace, hook = place.number(_DEFAULT_GRACE), _hook_seconds(workload.container)
    shutdown = f"{app.settings.number('SHUTDOWN_TIMEOUT'):g}"
    if grace < app.grace + hook:
        said = f"{grace} s" if place else f"{grace} s, the default"
        first = f" after {hook} s of preStop" if hook else ""
        report.red(
            document,
            place if place else spec,
            f"The pod has {said} to stop, and the app takes up to {shutdown} s{first} (SHUTDOWN_TIMEOUT).",
            "The kubelet kills it while requests are in flight.",
            f"Set terminationGracePeriodSeconds to {app.grace + hook}: {GRACE_MARGIN} s more than that.",
        )
    delay = app.settings.number("SHUTDOWN_DRAIN_DELAY")
    if delay == 0 and not hook:
        report.red(
            document,
            workload.container,
            "SHUTDOWN_DRAIN_DELAY is 0.",
            "Balancers go on sending requests for a moment after SIGTERM, and nobody would take them.",
            "Leave SHUTDOWN_DRAIN_DELAY out: in a pod it is 5s.",
        )
    elif hook and delay:
        report.warning(
            document,
            workload.container.at("lifecycle", "preStop"),
            f"preStop waits {hook} s, and then the app serves on for {delay:g} s (SHUTDOWN_DRAIN_DELAY).",
            "One of the two is enough, and each makes every rollout longer.",
            "Remove preStop.",
        )


def _hook_seconds(container: Place) -> int:
    hook = container.at("lifecycle", "preStop")
    if "sleep" in hook:
        return hook.at("sleep", "seconds").number(0)
    words = " ".join(word.text or str(word.value) for word in hook.at("exec", "command").items).split()
    after = words[words.index("sleep") + 1 :] if "sleep" in words else []
    return int(after[0]) if after and after[0].isdecimal() else 0
