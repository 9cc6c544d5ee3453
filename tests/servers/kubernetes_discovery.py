"""What the API server of the tests says of itself: enough for kubectl to find its two kinds."""

from __future__ import annotations

from tests.servers.kubernetes_kinds import KINDS, Kind
from tests.servers.kubernetes_status import Object

VERSION = {"major": "1", "minor": "32", "gitVersion": "v1.32.0+eggycore", "platform": "linux/amd64"}

VERBS = ["create", "delete", "get", "list", "update", "watch"]


def document(path: str) -> Object | None:
    """The answer to a GET of a path that is not of an object; None when there is none."""
    return _DOCUMENTS.get(path)


def _resources(root: str) -> Object:
    kinds = [kind for kind in KINDS.values() if kind.root == root]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": [_resource(kind) for kind in kinds],
    }


def _resource(kind: Kind) -> Object:
    described = {"name": kind.plural, "singularName": kind.kind.lower(), "namespaced": True, "kind": kind.kind}
    return described | {"verbs": VERBS, "shortNames": list(kind.short_names)}


def _groups() -> Object:
    groups = []
    for kind in KINDS.values():
        if kind.group:
            version = {"groupVersion": kind.api_version, "version": kind.version}
            groups.append({"name": kind.group, "versions": [version], "preferredVersion": version})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


_DOCUMENTS: dict[str, Object] = {
    "/version": VERSION,
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": _groups(),
    **{kind.root: _resources(kind.root) for kind in KINDS.values()},
}
