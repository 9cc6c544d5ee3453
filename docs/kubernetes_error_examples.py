"""One example of every error between an app and Kubernetes, for docs/errors.md."""

from __future__ import annotations

from eggycore.errors import EggycoreError
from eggycore_k8s_watch.errors import (
    ApiFailed,
    ApiUnreachable,
    BadAnswer,
    ConfigMapMissing,
    Conflict,
    CredentialUnusable,
    Forbidden,
    Gone,
    KubeconfigUnusable,
    NoCluster,
    NotFound,
    TooManyRequests,
    Unauthorized,
)
from eggycore_k8s_watch.objects import CONFIGMAPS, LEASES

__all__ = ["KUBERNETES"]

SERVER = "https://10.0.0.1:443"
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ACCOUNT = "system:serviceaccount:shop:forms"

KUBERNETES: tuple[EggycoreError, ...] = (
    NoCluster(("/home/me/.kube/config",)),
    KubeconfigUnusable(
        "/home/me/.kube/config",
        "it has no context 'shp'",
        "Correct K8S_CONTEXT, or current-context. Did you mean 'shop'?",
    ),
    CredentialUnusable(
        "token of the pod's ServiceAccount",
        f"{MOUNT}/token",
        "no such file",
        "Let the pod have it: automountServiceAccountToken: true in the pod's spec.",
    ),
    ApiUnreachable(SERVER, "refused the connection"),
    BadAnswer(SERVER, "is no JSON"),
    Unauthorized(SERVER, 401, "Unauthorized", "Unauthorized", credentials=f"the token in {MOUNT}/token"),
    Forbidden(
        SERVER,
        403,
        "Forbidden",
        f'configmaps "forms" is forbidden: User "{ACCOUNT}" cannot list resource "configmaps" in API group "" in the'
        ' namespace "shop"',
        verb="list",
        collection=CONFIGMAPS,
        namespace="shop",
        name="forms",
        user=ACCOUNT,
    ),
    ConfigMapMissing("forms", "shop"),
    NotFound(SERVER, 404, "NotFound", 'leases.coordination.k8s.io "forms" not found', "get", LEASES, "shop", "forms"),
    Conflict(
        SERVER,
        409,
        "Conflict",
        'Operation cannot be fulfilled on leases.coordination.k8s.io "forms": the object has been modified; please'
        " apply your changes to the latest version and try again",
        "update",
        LEASES,
        "shop",
        "forms",
    ),
    Gone(SERVER, 410, "Expired", "too old resource version: 1003 (9021)", "watch", CONFIGMAPS, "shop"),
    TooManyRequests(SERVER, 429, "TooManyRequests", "Too many requests, please try again later.", retry_after=1.0),
    ApiFailed(SERVER, 500, "InternalError", "etcdserver: request timed out", "list", CONFIGMAPS, "shop"),
)
