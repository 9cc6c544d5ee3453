"""The pods of an app: one template for those that serve, one for the Job that migrates the database."""

from __future__ import annotations

import math
from collections.abc import Mapping

from eggycore_k8s_watch.manifest_app import App, Port
from eggycore_k8s_watch.manifest_values import Values
from eggycore_k8s_watch.manifest_yaml import Comment, Manifest

__all__ = ["labels", "migrating_pod", "selector", "serving_pod"]

USER = 10001
"""A user without a name, as in deploy/Dockerfile."""

STARTUP_PERIOD = 2
STARTUP_MARGIN = 30
"""Seconds beyond STARTUP_TIMEOUT in which the process is loaded, and after a failed start closes and says why."""

_APP_PROTOCOLS = {"BUSINESS_GRPC_PORT": "grpc", "BUSINESS_HTTP_PORT": "http"}


def labels(app: App, component: str = "server") -> dict[str, str]:
    """The labels of an object; `component` keeps the Job's pods out of the Service."""
    return {"app.kubernetes.io/name": app.name, "app.kubernetes.io/component": component}


def selector(app: App) -> dict[str, str]:
    """What tells the pods that serve from all others."""
    return labels(app)


def app_protocol(port: Port) -> str | None:
    """What callers speak on a port, for meshes and balancers."""
    return _APP_PROTOCOLS.get(port.key)


def serving_pod(app: App, values: Values, image: str, *, namespace: str, mesh: bool) -> Manifest:
    """The template of the pods of the Deployment."""
    metadata: Manifest = {"labels": labels(app)}
    if mesh:
        metadata["annotations"] = _mesh_annotations(app)
    container: Manifest = {
        "name": app.name,
        "image": image,
        "command": list(app.command),
        "ports": _container_ports(app),
        **_environment(app, values, namespace),
        **_probes(app),
        Comment(
            "There is no preStop hook: after SIGTERM the process itself serves on for SHUTDOWN_DRAIN_DELAY\n"
            f"({_seconds(app, 'SHUTDOWN_DRAIN_DELAY')} s), so that balancers have time to learn of it."
        ): None,
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            Comment("Without a limit of CPU: throttling would only make what is slow slower."): None,
            "limits": {"memory": "512Mi"},
        },
        **_confinement(),
    }
    volumes: list[Manifest] = [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    mounts: list[Manifest] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 -- a volume of the pod's own
    if "mount" in app.watch:
        volumes.append({"name": "config", "configMap": {"name": app.configmap}})
        mounts.append({"name": "config", "mountPath": str(app.settings.value("K8S_CONFIG_DIR")), "readOnly": True})
    container["volumeMounts"] = mounts
    spec: Manifest = {
        "serviceAccountName": app.name,
        "automountServiceAccountToken": app.needs_api,
        Comment("The variables that describe Services would be taken for settings."): None,
        "enableServiceLinks": False,
        Comment("SHUTDOWN_TIMEOUT, after which the process ends itself, and 5 s more."): None,
        "terminationGracePeriodSeconds": app.grace,
        "securityContext": _user(),
        "topologySpreadConstraints": [
            _spread(app, key) for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "containers": [container],
        "volumes": volumes,
    }
    return {"metadata": metadata, "spec": spec}


def migrating_pod(
    app: App, values: Values, command: tuple[str, ...], image: str, *, namespace: str, mesh: bool
) -> Manifest:
    """The template of the pod of the Job."""
    metadata: Manifest = {"labels": labels(app, "migrate")}
    if mesh:
        # A sidecar never ends, and so neither would the Job.
        metadata["labels"] = {**labels(app, "migrate"), "sidecar.istio.io/inject": "false"}
        metadata["annotations"] = {"linkerd.io/inject": "disabled"}
    container: Manifest = {
        "name": "migrate",
        "image": image,
        "command": list(command),
        **_environment(app, values, namespace),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        **_confinement(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 -- a volume of the pod's own
    }
    spec: Manifest = {
        "serviceAccountName": app.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": _user(),
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }
    return {"metadata": metadata, "spec": spec}


def _mesh_annotations(app: App) -> dict[str, str]:
    """Keeps the ports of kubelet and Prometheus, who are not in the mesh, out of it; callers go through it."""
    ports = ",".join(sorted({str(port.number) for port in app.ports if port.management}, key=int))
    return {
        "config.linkerd.io/proxy-await": "enabled",
        "config.linkerd.io/skip-inbound-ports": ports,
        "proxy.istio.io/config": "holdApplicationUntilProxyStarts: true",
        "sidecar.istio.io/rewriteAppHTTPProbers": "false",
        "traffic.sidecar.istio.io/excludeInboundPorts": ports,
    }


def _container_ports(app: App) -> list[Manifest]:
    ports: dict[int, Manifest] = {}
    for port in app.ports:
        ports.setdefault(port.number, {"name": port.name, "containerPort": port.number})
    return list(ports.values())


def _environment(app: App, values: Values, namespace: str) -> Manifest:
    entries: list[object] = [*values.environment_entries()]
    if values.secrets:
        required = [one.key for one in values.secrets if one.required]
        needed = f"with {' and '.join(required)}" if required else "all of which the app can do without"
        optional = (
            ", and if you like with those that are optional here"
            if len(required) not in (0, len(values.secrets))
            else ""
        )
        entries += [
            Comment(
                f"Secrets come from the Secret {app.name}, which no manifest holds. Make it of a file of KEY=value\n"
                f"lines, {needed}{optional}:\n"
                f"kubectl --namespace {namespace} create secret generic {app.name} --from-env-file=FILE"
            ),
            *values.secret_entries(app.name),
        ]
    return {"env": entries}


def _probes(app: App) -> Manifest:
    assert app.health is not None  # manifests are not written without
    startup = app.settings.number("STARTUP_TIMEOUT") + STARTUP_MARGIN
    return {
        Comment(
            f"Outlasts STARTUP_TIMEOUT ({_seconds(app, 'STARTUP_TIMEOUT')} s): the process itself gives up first."
        ): None,
        "startupProbe": {
            **_get(app.health, "/startupz"),
            "periodSeconds": STARTUP_PERIOD,
            "timeoutSeconds": 2,
            "failureThreshold": math.ceil(startup / STARTUP_PERIOD),
        },
        Comment("Answered from memory, after thresholds of the app's own: the first red answer counts."): None,
        "readinessProbe": {
            **_get(app.health, "/readyz"),
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 1,
        },
        Comment("Looks at no database and no cache; only a minute of silence is worth a restart."): None,
        "livenessProbe": {
            **_get(app.health, "/livez"),
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }


def _get(port: Port, path: str) -> Manifest:
    return {"httpGet": {"path": path, "port": port.number}}


def _confinement() -> Manifest:
    return {
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def _user() -> Manifest:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _spread(app: App, key: str) -> Mapping[str, object]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(app)},
    }


def _seconds(app: App, key: str) -> str:
    return f"{app.settings.number(key):g}"
