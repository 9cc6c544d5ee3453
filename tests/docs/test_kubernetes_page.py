"""docs/kubernetes.md shows what `eggycore k8s` says, and names every kind that it writes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from eggycore_k8s_watch.manifests import KINDS
from tests.packaging.conftest import plain_environ

PAGE = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text(encoding="utf-8")

FORMS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: forms}
spec:
  selector: {matchLabels: {app: forms}}
  template:
    metadata: {labels: {app: forms}}
    spec:
      enableServiceLinks: false
      terminationGracePeriodSeconds: 30
      containers:
      - name: forms
        image: forms:1
        command: [eggycore, run, sample_app, --plugins, "db,cache"]
        ports: [{name: http, containerPort: 8080}]
        env:
        - {name: ENVIRONMENT, value: production}
        - {name: DATABASE_DSN, valueFrom: {secretKeyRef: {name: forms, key: DATABASE_DSN}}}
        - {name: LOG_LEVL, value: debug}
        startupProbe:
          httpGet: {path: /startupz, port: 8081}
          failureThreshold: 33
        readinessProbe:
          httpGet: {path: /readyz, port: 8080}
          failureThreshold: 1
        livenessProbe:
          httpGet: {path: /livez, port: 8081}
        resources: {limits: {memory: 256Mi}}
"""


def test_the_page_shows_what_check_says(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```console\n\$ eggycore k8s check forms.yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "forms.yaml").write_text(FORMS)
    command = [sys.executable, "-m", "eggycore", "k8s", "check", "forms.yaml", "--app", "sample_app"]
    environ = plain_environ(PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (shown, 1), done.stderr


def test_the_page_names_every_kind_that_is_written() -> None:
    assert [kind for kind in KINDS if not re.search(rf"^\|.*\b{kind}\b.*\|", PAGE, flags=re.MULTILINE)] == []
