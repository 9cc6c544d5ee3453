"""What clients find to reach the API server of the tests: a kubeconfig, or the folder of a pod's service account."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers.kubernetes_status import Object
from tests.servers.kubernetes_volume import Volume


@dataclass(frozen=True, kw_only=True)
class ServiceAccount:
    """What a pod finds of its service account.

    Attributes:
        folder: In place of /var/run/secrets/kubernetes.io/serviceaccount: token, ca.crt, namespace.
        environ: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
        volume: The folder, to be written anew as kubelet does when the token rotates.
    """

    folder: Path
    environ: Mapping[str, str]
    volume: Volume

    def rotate(self, token: str) -> None:
        """Put another token into the folder."""
        kept = {name: (self.folder / name).read_bytes() for name in ("ca.crt", "namespace")}
        self.volume.write({"token": token, **kept})


def write_kubeconfig(path: Path, *, cluster: Object, user: Object, namespace: str) -> Path:
    """Write a kubeconfig of one cluster and one user, and return its path."""
    context = {"cluster": "test", "user": "tester", "namespace": namespace}
    written: Object = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "tester", "user": user}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }
    path.write_text(json.dumps(written, indent=2))
    return path
