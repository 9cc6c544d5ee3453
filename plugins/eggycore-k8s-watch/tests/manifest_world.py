"""A folder with an app, and `eggycore k8s` run in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from eggycore.cli import eggycore

APP = """
from eggycore import Secret, Settings, env, hookimpl


class ShopSettings(Settings):
    greeting: str = env("SHOP_GREETING", default="hello", doc="What to say.", reload=True)
    limit: int = env("SHOP_LIMIT", default=10, ge=1, doc="Most orders of a page.")
    token: Secret[str] = env("SHOP_TOKEN", doc="Who may order.")
    key: Secret[str] | None = env("SHOP_KEY", default=None, doc="What signs orders.")


async def read(request):
    return {}


@hookimpl
def register_settings():
    return ShopSettings


@hookimpl
def register_services(runtime):
    runtime.http.get("/", read)
"""


class World:
    """The app `eggyapp_shop` in the current folder: one route, a secret that must be set, settings to change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str, stdin: str | None = None) -> Result:
        """`eggycore k8s` with these words."""
        return CliRunner().invoke(eggycore, ["k8s", *words], prog_name="eggycore", input=stdin)

    def manifests(self, *words: str) -> dict[str, dict]:
        """What `eggycore k8s manifests` writes, by kind."""
        result = self.run("manifests", *words)
        assert result.exit_code == 0, result.stderr
        return {one["kind"]: one for one in yaml.safe_load_all(result.stdout)}

    def check(self, text: str, *words: str) -> Result:
        """`eggycore k8s check` on this text."""
        (self.folder / "manifests.yaml").write_text(text)
        return self.run("check", "manifests.yaml", *words)


def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world of its own; as a fixture."""
    (tmp_path / "eggyapp_shop.py").write_text(APP)
    (tmp_path / "pyproject.toml").write_text('[tool.eggycore]\napp = "eggyapp_shop"\nplugins = ["k8s-watch"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for name in ("EGGYCORE_PLUGINS", "EGGYCORE_OPTIONAL_PLUGINS", "SERVICE_NAME", "ENVIRONMENT", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    yield World(tmp_path)
    sys.modules.pop("eggyapp_shop", None)


def container(manifests: dict[str, dict], kind: str = "Deployment") -> dict:
    """The only container of a kind."""
    (found,) = manifests[kind]["spec"]["template"]["spec"]["containers"]
    return found


def environment(manifests: dict[str, dict], kind: str = "Deployment") -> dict[str, dict]:
    """What `env` of the container holds, by name."""
    return {one["name"]: one for one in container(manifests, kind)["env"]}


GOOD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: prod}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      serviceAccountName: shop
      enableServiceLinks: false
      terminationGracePeriodSeconds: 30
      containers:
      - name: web
        image: shop:1
        command: [eggycore, run]
        ports:
        - {name: http, containerPort: 8080}
        - {name: probes, containerPort: 8081}
        env:
        - {name: ENVIRONMENT, value: production}
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: SHOP_TOKEN, valueFrom: {secretKeyRef: {name: shop, key: token}}}
        - {name: LOG_LEVEL, value: info}
        envFrom:
        - configMapRef: {name: shop-env}
        startupProbe: {httpGet: {path: /startupz, port: probes}, periodSeconds: 5, failureThreshold: 70}
        readinessProbe: {httpGet: {path: /readyz, port: 8081}, failureThreshold: 1}
        livenessProbe: {httpGet: {path: /livez, port: probes}}
        resources: {requests: {memory: 64Mi}, limits: {memory: 256Mi}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop-env, namespace: prod}
data:
  SHOP_LIMIT: "20"
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: prod, labels: {app: shop}}
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: http}]
"""


def findings(world, text: str, *words: str) -> list[dict]:
    result = world.check(text, "--json", *words)
    found = json.loads(result.stdout)
    assert result.exit_code == (1 if any(one["state"] == "red" for one in found) else 0)
    return found


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


WATCHING = changed(
    "value: info}",
    'value: info}\n        - {name: ENABLE_K8S_CONFIG_WATCH, value: "true"}\n'
    "        - {name: K8S_CONFIGMAP_NAME, value: shop-live}\n        - {name: K8S_LEADERSHIP, value: alone}",
)
LIVE = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop-live, namespace: prod}\ndata:\n"
ROLE = """\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: shop, namespace: prod}
rules:
- {apiGroups: [""], resources: [configmaps], resourceNames: [shop-live], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: shop, namespace: prod}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: shop}
subjects: [{kind: ServiceAccount, name: shop, namespace: prod}]
"""
