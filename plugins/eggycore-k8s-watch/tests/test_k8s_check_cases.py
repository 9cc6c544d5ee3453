"""`eggycore k8s check`: each disagreement between one field and the app, with everything that is said about it."""

from __future__ import annotations

import json
from importlib import import_module

import pytest

kit = import_module("plugins.eggycore-k8s-watch.tests.manifest_world")
world = pytest.fixture(kit.world)
changed, findings, line_of = kit.changed, kit.findings, kit.line_of


CASES = {
    "probe port": (
        "port: 8081}, failureThreshold: 1}",
        "port: 8080}, failureThreshold: 1}",
        "red",
        "readinessProbe asks port 8080 (BUSINESS_HTTP_PORT), and the probes are on 8081 (HEALTH_CHECK_PORT).",
        "The probe fails always, or asks something else.",
        "Set port to 8081.",
    ),
    "probe port without a name": (
        "/livez, port: probes",
        "/livez, port: health",
        "red",
        "livenessProbe asks the port 'health', which no container of the pod names.",
        "The probe fails always.",
        "Set port to 8081, or name that port in `ports`.",
    ),
    "liveness that looks at dependencies": (
        "path: /livez",
        "path: /readyz",
        "red",
        "livenessProbe asks /readyz, which is not what it is for.",
        "It restarts the pod: if it looks at a database, every replica is restarted when that is away.",
        "Set path to /livez.",
    ),
    "readiness that never gets red": (
        "path: /readyz",
        "path: /livez/",
        "red",
        "readinessProbe asks /livez/, which is not what it is for.",
        "It decides whether the pod gets traffic: one that starts or drains must not.",
        "Set path to /readyz.",
    ),
    "scheme": (
        "path: /startupz, port: probes}",
        "path: /startupz, port: probes, scheme: HTTPS}",
        "red",
        "startupProbe asks over HTTPS.",
        "The probes are served without TLS.",
        "Leave scheme out.",
    ),
    "a probe that opens a connection": (
        "readinessProbe: {httpGet: {path: /readyz, port: 8081}, failureThreshold: 1}",
        "readinessProbe: {tcpSocket: {port: 8081}, failureThreshold: 1}",
        "red",
        "readinessProbe only opens a connection.",
        "The port is open while the app starts, drains and is broken.",
        "Use httpGet with path /readyz and port 8081.",
    ),
    "a probe of another kind": (
        "livenessProbe: {httpGet: {path: /livez, port: probes}}",
        "livenessProbe: {exec: {command: [eggycore, probe, ready]}}",
        "red",
        "livenessProbe asks for another probe.",
        "It restarts the pod: if it looks at a database, every replica is restarted when that is away.",
        "Write eggycore probe live, or better httpGet with path /livez.",
    ),
    "a probe that is a process": (
        "livenessProbe: {httpGet: {path: /livez, port: probes}}",
        "livenessProbe: {exec: {command: [eggycore, probe, live]}}",
        "warning",
        "livenessProbe starts a process each time.",
        "That takes a tenth of a second of CPU, which httpGet does not.",
        "Use httpGet with path /livez and port 8081.",
    ),
    "no startup probe": (
        "startupProbe: {httpGet: {path: /startupz, port: probes}, periodSeconds: 5, failureThreshold: 70}",
        "imagePullPolicy: Always",
        "red",
        "There is a livenessProbe and no startupProbe.",
        "A start may take 300 s (STARTUP_TIMEOUT), and the kubelet kills the process long before.",
        "Add httpGet with path /startupz and port 8081.",
    ),
    "no readiness probe": (
        "readinessProbe: {httpGet: {path: /readyz, port: 8081}, failureThreshold: 1}",
        "imagePullPolicy: Always",
        "red",
        "There is no readinessProbe.",
        "The pod gets traffic while it starts, and while it cannot serve.",
        "Add httpGet with path /readyz and port 8081.",
    ),
    "no liveness probe": (
        "livenessProbe: {httpGet: {path: /livez, port: probes}}",
        "imagePullPolicy: Always",
        "warning",
        "There is no livenessProbe.",
        "A process that hangs is never restarted.",
        "Add httpGet with path /livez and port 8081.",
    ),
    "a startup probe that is too short": (
        "failureThreshold: 70",
        "failureThreshold: 60",
        "red",
        "startupProbe gives up after 300 s, and a start may take 300 s (STARTUP_TIMEOUT).",
        "The kubelet kills the process before it can say what it waits for.",
        "Set failureThreshold to 66 (with periodSeconds 5).",
    ),
    "a readiness threshold": (
        "failureThreshold: 1}",
        "failureThreshold: 4}",
        "warning",
        "readinessProbe needs 4 red answers.",
        "The app has thresholds of its own: the first red answer is meant, and until then requests fail.",
        "Set failureThreshold to 1.",
    ),
    "an impatient liveness probe": (
        "path: /livez, port: probes}}",
        "path: /livez, port: probes}, periodSeconds: 3}",
        "warning",
        "livenessProbe restarts the pod after 9 s of silence.",
        "A busy node makes a process silent for seconds, and a restart loses what is in flight.",
        "Set periodSeconds to 10 and failureThreshold to 6.",
    ),
    "a grace period that is too short": (
        "terminationGracePeriodSeconds: 30",
        "terminationGracePeriodSeconds: 29",
        "red",
        "The pod has 29 s to stop, and the app takes up to 25 s (SHUTDOWN_TIMEOUT).",
        "The kubelet kills it while requests are in flight.",
        "Set terminationGracePeriodSeconds to 30: 5 s more than that.",
    ),
    "a grace period by default": (
        "value: info}",
        "value: info}\n        - {name: SHUTDOWN_TIMEOUT, value: 45s}",
        "red",
        "The pod has 30 s to stop, and the app takes up to 45 s (SHUTDOWN_TIMEOUT).",
        "The kubelet kills it while requests are in flight.",
        "Set terminationGracePeriodSeconds to 50: 5 s more than that.",
    ),
    "no drain delay": (
        "value: info}",
        "value: info}\n        - {name: SHUTDOWN_DRAIN_DELAY, value: 0s}",
        "red",
        "SHUTDOWN_DRAIN_DELAY is 0.",
        "Balancers go on sending requests for a moment after SIGTERM, and nobody would take them.",
        "Leave SHUTDOWN_DRAIN_DELAY out: in a pod it is 5s.",
    ),
    "a port that nobody listens on": (
        "{name: http, containerPort: 8080}",
        "{name: http, containerPort: 8080}\n        - {name: grpc, containerPort: 9090}",
        "red",
        "Nothing of the app listens on containerPort 9090.",
        "It listens on 8080 (BUSINESS_HTTP_PORT), 8081 (HEALTH_CHECK_PORT).",
        "Correct the number, or remove the entry.",
    ),
    "a target that nobody listens on": (
        "targetPort: http",
        "targetPort: 8000",
        "red",
        "Nothing of the app listens on targetPort 8000.",
        "Callers are refused; the app listens on 8080 (BUSINESS_HTTP_PORT), 8081 (HEALTH_CHECK_PORT).",
        "Set targetPort to one of these.",
    ),
    "a target without a name": (
        "targetPort: http",
        "targetPort: web",
        "red",
        "targetPort web is the name of no port of the pod.",
        "The Service sends nobody anywhere.",
        "Name a port in `ports` of the container so, or use the number: 8080 (BUSINESS_HTTP_PORT),"
        " 8081 (HEALTH_CHECK_PORT).",
    ),
    "a variable that nobody reads": (
        "name: LOG_LEVEL",
        "name: LOG_LEVL",
        "red",
        "Nobody reads LOG_LEVL. Did you mean 'LOG_LEVEL'?",
        "It is no variable of eggycore, of the app or of its plugins, so what it says has no effect.",
        "Write LOG_LEVEL.",
    ),
    "a variable of something else": (
        "name: LOG_LEVEL",
        "name: QUUX",
        "warning",
        "Nobody reads QUUX.",
        "It is no variable of eggycore, of the app or of its plugins, so what it says has no effect.",
        "Correct the name, remove it, or select the plugin that has it.",
    ),
    "a variable that nobody reads in a ConfigMap": (
        "SHOP_LIMIT:",
        "SHOP_LIMTI:",
        "red",
        "Nobody reads SHOP_LIMTI. Did you mean 'SHOP_LIMIT'?",
        "It is no variable of eggycore, of the app or of its plugins, so what it says has no effect.",
        "Write SHOP_LIMIT.",
    ),
    "a value that the app refuses": (
        "value: info}",
        "value: loud}",
        "red",
        "LOG_LEVEL 'loud': not one of the choices.",
        "The app refuses it, and does not start.",
        "Set it to one of debug, info, warn, error, fatal.",
    ),
    "a value in a ConfigMap that the app refuses": (
        '"20"',
        '"-1"',
        "red",
        "SHOP_LIMIT '-1': less than 1.",
        "The app refuses it, and does not start.",
        "Set it to a whole number of at least 1.",
    ),
    "a value that is no string": (
        "value: info}",
        "value: info}\n        - {name: HTTP_ACCESS_LOG, value: no}",
        "red",
        "The value of HTTP_ACCESS_LOG is not a string.",
        "The API server refuses the object: values are strings there.",
        "Put it into quotes.",
    ),
    "a secret in plain text": (
        "name: SHOP_TOKEN, valueFrom: {secretKeyRef: {name: shop, key: token}}",
        "name: SHOP_TOKEN, value: hunter2",
        "red",
        "SHOP_TOKEN is written in plain text.",
        "Whoever may read the manifest, or the pod, reads the secret.",
        "Put it into a Secret, and refer to it with valueFrom.secretKeyRef.",
    ),
    "a password in a URL": (
        "value: info}",
        "value: info}\n        - {name: https_proxy, value: 'http://me:hunter2@proxy:3128'}",
        "red",
        "https_proxy is written in plain text.",
        "Whoever may read the manifest, or the pod, reads the secret.",
        "Put it into a Secret, and refer to it with valueFrom.secretKeyRef.",
    ),
    "a variable that is missing": (
        "        - {name: SHOP_TOKEN, valueFrom: {secretKeyRef: {name: shop, key: token}}}\n",
        "",
        "red",
        "SHOP_TOKEN: required, and not set.",
        "The app refuses it, and does not start.",
        "Set it in the environment, in .env or with --set.",
    ),
    "a variable set twice": (
        "value: info}",
        "value: info}\n        - {name: LOG_LEVEL, value: warn}",
        "warning",
        "LOG_LEVEL is set twice in one container.",
        "The later one counts, and this one does not.",
        "Remove one of the two.",
    ),
    "no environment": (
        "        envFrom:\n        - configMapRef: {name: shop-env}\n",
        "        imagePullPolicy: Always\n",
        None,
        "",
        "",
        "",
    ),
    "a loopback": (
        "value: info}",
        "value: info}\n        - {name: BIND_HOST, value: 127.0.0.1}",
        "red",
        "BIND_HOST is 127.0.0.1.",
        "Neither the kubelet nor a Service reaches what listens on the loopback of a pod.",
        "Leave BIND_HOST out: in a pod it is 0.0.0.0.",
    ),
    "a rollout with gaps": (
        "  selector: {matchLabels: {app: shop}}",
        "  selector: {matchLabels: {app: shop}}\n  strategy: {rollingUpdate: {maxUnavailable: 1}}",
        "warning",
        "maxUnavailable is 1: pods go before new ones are ready.",
        "The others get their requests meanwhile.",
        "Set strategy.rollingUpdate.maxUnavailable to 0.",
    ),
    "service links": (
        "      enableServiceLinks: false\n",
        "",
        "warning",
        "enableServiceLinks is not false.",
        "Kubernetes describes every Service of the namespace in variables, and one may have the name of a setting.",
        "Set enableServiceLinks: false in the spec of the pod.",
    ),
    "no limit of memory": (
        ", limits: {memory: 256Mi}",
        "",
        "warning",
        "There is no limit of memory.",
        "A leak takes the memory of the node, and the kernel kills whom it likes.",
        "Set resources.limits.memory.",
    ),
    "a key that stands twice": (
        "image: shop:1",
        "image: shop:1\n        image: shop:2",
        "red",
        "The key image stands twice in one mapping.",
        "kubectl refuses that, or takes the last one.",
        "Remove one of the two.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_disagreement_is_found_where_it_stands(world, case: str) -> None:
    old, new, state, what, why, action = CASES[case]
    text = changed(old, new)
    found = findings(world, text)
    if state is None:
        assert found == []
        return
    (finding,) = found
    shown = {key: finding[key] for key in ("file", "state", "what", "why", "action")}
    assert shown == {"file": "manifests.yaml", "state": state, "what": what, "why": why, "action": action}
    assert "hunter2" not in json.dumps(found)


@pytest.mark.parametrize(
    ("case", "part", "name"),
    [
        ("probe port", "readinessProbe", "Deployment shop"),
        ("a grace period that is too short", "terminationGrace", "Deployment shop"),
        ("a target that nobody listens on", "targetPort", "Service shop"),
        ("a value in a ConfigMap that the app refuses", "SHOP_LIMIT", "ConfigMap shop-env"),
        ("a value that the app refuses", "LOG_LEVEL", "Deployment shop"),
        ("a key that stands twice", "image: shop:2", "Deployment shop"),
    ],
)
def test_a_finding_names_its_line_and_its_object(world, case: str, part: str, name: str) -> None:
    old, new, *_ = CASES[case]
    text = changed(old, new)
    (finding,) = findings(world, text)
    assert (finding["line"], finding["object"]) == (line_of(text, part), name)
