"""What the API server keeps: collections of objects, and how their names and versions are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["CONFIGMAPS", "LEASES", "Collection", "Object", "metadata", "name_of", "version_of"]

Object: TypeAlias = dict[str, Any]
"""An object as the API sends it: parsed JSON, of which nothing is known until it is looked at."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """All objects of one resource in one namespace.

    Args:
        api: Group and version, of the core group only the version: "v1", "coordination.k8s.io/v1".
        resource: The plural in lower case, as in paths and Roles: "configmaps".
        kind: The kind of its objects: "ConfigMap".
        verbs: What this plugin does with them, for the Role that allows it.
    """

    api: str
    resource: str
    kind: str
    verbs: tuple[str, ...]

    @property
    def group(self) -> str:
        """The API group; "" for the core group."""
        return self.api.rpartition("/")[0]

    def path(self, namespace: str, name: str = "") -> str:
        """The path of the collection, or of the object of this name."""
        root = f"/apis/{self.api}" if self.group else f"/api/{self.api}"
        path = f"{root}/namespaces/{namespace}/{self.resource}"
        return f"{path}/{name}" if name else path


CONFIGMAPS = Collection(api="v1", resource="configmaps", kind="ConfigMap", verbs=("get", "list", "watch"))
LEASES = Collection(api="coordination.k8s.io/v1", resource="leases", kind="Lease", verbs=("get", "create", "update"))


def metadata(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of an object, or of a list; empty when there is none."""
    found = one.get("metadata")
    return found if isinstance(found, dict) else {}


def name_of(one: Mapping[str, Any]) -> str:
    """The name of an object, "" when it has none."""
    name = metadata(one).get("name")
    return name if isinstance(name, str) else ""


def version_of(one: Mapping[str, Any]) -> str:
    """The resourceVersion of an object or of a list, "" when it has none."""
    version = metadata(one).get("resourceVersion")
    return version if isinstance(version, str) else ""
