"""The objects of an app, one function each; None where the app needs none of that kind."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass

from eggycore_k8s_watch.manifest_app import App
from eggycore_k8s_watch.manifest_pod import STARTUP_MARGIN, app_protocol, labels, migrating_pod, selector, serving_pod
from eggycore_k8s_watch.manifest_values import Values, reloadable_comment
from eggycore_k8s_watch.manifest_yaml import Comment, Manifest
from eggycore_k8s_watch.objects import CONFIGMAPS, LEASES, Collection

__all__ = ["Request", "make_objects"]

PROBE_TIME = 10
"""Seconds that a new pod has to stay ready before the next old one goes."""

MIGRATION_TIME = 3600
"""Seconds that a migration may take."""

MESH_PORTS = (4143, 15008)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, beside what the app's settings say.

    Args:
        image: The container image.
        namespace: Where the objects go.
        replicas: How many pods serve at least.
        mesh: Whether the pods get a sidecar of Istio or Linkerd.
        migrate: What the Job runs; () when the app has no migrations.
    """

    image: str
    namespace: str
    replicas: int
    mesh: bool
    migrate: tuple[str, ...] = ()


def make_objects(app: App, values: Values, request: Request) -> list[Manifest]:
    """Every object of the app, in an order in which they can be applied."""
    made = (
        _service_account(app, request),
        _role(app, request),
        _role_binding(app, request),
        _configmap(app, values, request),
        _migration_job(app, values, request),
        _service(app, request),
        _deployment(app, values, request),
        _disruption_budget(app, request),
        _autoscaler(app, request),
        _network_policy(app, request),
        _service_monitor(app, request),
    )
    return [one for one in made if one is not None]


def _object(api: str, kind: str, app: App, request: Request, **fields: object) -> Manifest:
    metadata = {"name": app.name, "namespace": request.namespace, "labels": labels(app)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def _service_account(app: App, request: Request) -> Manifest:
    return _object("v1", "ServiceAccount", app, request, automountServiceAccountToken=False)


def _role(app: App, request: Request) -> Manifest | None:
    rules: list[object] = []
    if "api" in app.watch:
        name = str(app.settings.value("K8S_CONFIGMAP_NAME") or "")
        rules += _rules(CONFIGMAPS, name, "Its ConfigMap, which it lists and watches by this name alone.")
    if app.lease:
        rules += _rules(LEASES, app.lease, "The Lease by which the replicas elect a leader.")
    return _object("rbac.authorization.k8s.io/v1", "Role", app, request, rules=rules) if rules else None


def _rules(collection: Collection, name: str, meaning: str) -> list[object]:
    if not name:
        return [_rule(collection, collection.verbs)]
    named = [verb for verb in collection.verbs if verb != "create"]
    rules: list[object] = [Comment(meaning), {**_rule(collection, named), "resourceNames": [name]}]
    if "create" in collection.verbs:
        rules += [
            Comment("What is yet to be made has no name that a Role could hold it to."),
            _rule(collection, ["create"]),
        ]
    return rules


def _rule(collection: Collection, verbs: object) -> Manifest:
    assert isinstance(verbs, list | tuple)
    return {"apiGroups": [collection.group], "resources": [collection.resource], "verbs": list(verbs)}


def _role_binding(app: App, request: Request) -> Manifest | None:
    if _role(app, request) is None:
        return None
    return _object(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        app,
        request,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": app.name},
        subjects=[{"kind": "ServiceAccount", "name": app.name, "namespace": request.namespace}],
    )


def _configmap(app: App, values: Values, request: Request) -> Manifest | None:
    if not app.watch or not (app.settings.value("K8S_CONFIGMAP_NAME") or "mount" in app.watch):
        return None  # nobody reads it, or those that a label selects are somebody else's
    made = _object("v1", "ConfigMap", app, request)
    made["metadata"] = {"name": app.configmap, "namespace": request.namespace, "labels": labels(app)}
    return {**made, reloadable_comment(values): None, "data": dict(values.configmap)}


def _deployment(app: App, values: Values, request: Request) -> Manifest:
    pod = serving_pod(app, values, request.image, namespace=request.namespace, mesh=request.mesh)
    spec: Manifest = {}
    if _is_scaled(request):
        spec[
            Comment("Without `replicas`: that is the HorizontalPodAutoscaler's, and would be set back by every apply.")
        ] = None
    else:
        spec["replicas"] = request.replicas
    spec |= {
        "selector": {"matchLabels": selector(app)},
        **_strategy(app),
        "minReadySeconds": PROBE_TIME,
        "progressDeadlineSeconds": _deadline(app),
        "revisionHistoryLimit": 5,
        "template": pod,
    }
    return _object("apps/v1", "Deployment", app, request, spec=spec)


def _strategy(app: App) -> Manifest:
    if app.is_embedded_allowed:
        return {
            Comment("One after the other: two pods would write one database file."): None,
            "strategy": {"type": "Recreate"},
        }
    return {
        Comment("No pod goes before a new one is ready."): None,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }


def _deadline(app: App) -> int:
    """Seconds after which a rollout that does not move counts as failed: more than a start may take."""
    return max(600, math.ceil(app.settings.number("STARTUP_TIMEOUT")) + STARTUP_MARGIN + PROBE_TIME + 60)


def _is_scaled(request: Request) -> bool:
    return request.replicas > 1


def _service(app: App, request: Request) -> Manifest | None:
    ports: dict[int, Manifest] = {}
    for port in app.ports:
        if not port.management or port == app.metrics:
            entry: Manifest = {"name": port.name, "port": port.number, "targetPort": port.number}
            protocol = app_protocol(port)
            if protocol:
                entry["appProtocol"] = protocol
            ports.setdefault(port.number, entry)
    if not ports:
        return None
    return _object("v1", "Service", app, request, spec={"selector": selector(app), "ports": list(ports.values())})


def _disruption_budget(app: App, request: Request) -> Manifest:
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector(app)},
    }
    return _object("policy/v1", "PodDisruptionBudget", app, request, spec=spec)


def _autoscaler(app: App, request: Request) -> Manifest | None:
    if not _is_scaled(request):
        return None
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app.name},
        "minReplicas": request.replicas,
        "maxReplicas": request.replicas * 3,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            }
        ],
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", app, request, spec=spec)


def _network_policy(app: App, request: Request) -> Manifest:
    business = sorted({port.number for port in app.ports if not port.management})
    ingress: list[object] = []
    if business:
        ingress.append({"ports": [{"port": number} for number in business]})
    if business and request.mesh:
        ingress += [
            Comment("Between sidecars: Linkerd's port for what it passes on as it is, and that of Istio's tunnels."),
            {"ports": [{"port": number} for number in MESH_PORTS]},
        ]
    if app.metrics is not None:
        ingress += [
            Comment("Prometheus, in the namespace in which it usually is; change the label where it is in another."),
            {
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
                "ports": [{"port": app.metrics.number}],
            },
        ]
    spec: Manifest = {
        "podSelector": {"matchLabels": selector(app)},
        Comment("What the app calls is not limited here. The probes of the node's kubelet always get through."): None,
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }
    return _object("networking.k8s.io/v1", "NetworkPolicy", app, request, spec=spec)


def _service_monitor(app: App, request: Request) -> Manifest | None:
    if app.metrics is None:
        return None
    named = next(
        port for port in app.ports if port.number == app.metrics.number and (not port.management or port == app.metrics)
    )
    spec = {
        "selector": {"matchLabels": selector(app)},
        "endpoints": [{"port": named.name, "path": "/metrics", "interval": "30s"}],
    }
    return _object("monitoring.coreos.com/v1", "ServiceMonitor", app, request, spec=spec)


def _migration_job(app: App, values: Values, request: Request) -> Manifest | None:
    if not request.migrate:
        return None
    pod = migrating_pod(app, values, request.migrate, request.image, namespace=request.namespace, mesh=request.mesh)
    spec: Manifest = {
        "backoffLimit": 3,
        "activeDeadlineSeconds": MIGRATION_TIME,
        "ttlSecondsAfterFinished": 24 * 3600,
        "template": pod,
    }
    # A Job cannot be changed once it is made: another image or command is another Job.
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    made = _object("batch/v1", "Job", app, request, spec=spec)
    made["metadata"] = {
        "name": f"{app.name}-{digest}",
        "namespace": request.namespace,
        "labels": labels(app, "migrate"),
    }
    waits = Comment(
        "Pods that start meanwhile wait until it is done (DATABASE_MIGRATIONS=check). Its name follows its content,\n"
        "because a Job cannot be changed; a new image makes a new one."
    )
    return {"apiVersion": made.pop("apiVersion"), "kind": made.pop("kind"), waits: None, **made}
