"""The Lease, the one object that all replicas contend for, and how it is read and written through the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import NotUpYet
from eggycore_k8s_watch.errors import NotFound
from eggycore_k8s_watch.objects import LEASES, Object, metadata, version_of

if TYPE_CHECKING:
    from eggycore_k8s_watch.api import ApiClient

__all__ = ["Lease", "LeaseStore", "VersionUnusable"]

RELEASED = 1
"""Seconds that a released Lease is said to last, as client-go writes it; one that is held lasts two at least."""


@dataclass(eq=False)
class VersionUnusable(NotUpYet):
    """The resourceVersion of the Lease is no whole number, so that no token can be made of it."""

    name: str
    namespace: str
    version: str


@diagnose.register
def _(error: VersionUnusable) -> Diagnosis:
    return Diagnosis(
        description=f"The Lease {error.name} in namespace {error.namespace} has the resourceVersion {error.version!r}.",
        cause="A leader's token is the resourceVersion of its Lease, which every Kubernetes API server counts up as a"
        " whole number; this one does not.",
        action="Look what answers for the API server, or set K8S_LEADERSHIP=alone where a single replica runs.",
    )


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What a Lease says.

    Args:
        holder: Who holds it; "" for nobody.
        seconds: How long it is held after each renewal, as the holder promises; 0 when it does not say.
        transitions: How often the holder has changed.
        acquired: When the holder got it by its own wall clock: for people, and nobody compares it with a clock.
        renewed: Likewise, when it was last renewed. Differs between any two writes of one process.
        version: Its resourceVersion; "" for one that is yet to be made.
        rest: The object as it was read, for what else it holds.
    """

    holder: str = ""
    seconds: int = 0
    transitions: int = 0
    acquired: str = ""
    renewed: str = ""
    version: str = ""
    rest: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_released(self) -> bool:
        """Whether its last holder has given it up in due form.

        One that was emptied by hand has not: that holder may not know of it yet.
        """
        return not self.holder and self.seconds == RELEASED

    def released(self, *, renewed: str) -> Lease:
        """The same, given up."""
        return replace(self, holder="", seconds=RELEASED, renewed=renewed)

    @classmethod
    def of(cls, found: Object) -> Lease:
        """The Lease that an object is; whatever is not as it should be counts as missing."""
        spec = found.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        return cls(
            holder=_text(spec, "holderIdentity"),
            seconds=max(0, _number(spec, "leaseDurationSeconds")),
            transitions=max(0, _number(spec, "leaseTransitions")),
            acquired=_text(spec, "acquireTime"),
            renewed=_text(spec, "renewTime"),
            version=version_of(found),
            rest=found,
        )

    def as_object(self, name: str, namespace: str) -> Object:
        """The object to send; labels, annotations and fields that we know nothing of stay as they were read."""
        spec = dict(self.rest.get("spec") or {})
        spec |= {
            "leaseDurationSeconds": self.seconds,
            "leaseTransitions": self.transitions,
            "holderIdentity": self.holder,
        }
        spec |= {"acquireTime": self.acquired, "renewTime": self.renewed}
        told = {**metadata(self.rest), "name": name, "namespace": namespace}
        if self.version:
            told["resourceVersion"] = self.version
        return {**self.rest, "apiVersion": LEASES.api, "kind": LEASES.kind, "metadata": told, "spec": spec}


class LeaseStore:
    """One Lease, through the API.

    Args:
        api: The client, open while this is used.
        name: The Lease's name.
    """

    def __init__(self, api: ApiClient, name: str) -> None:
        self._api = api
        self.name = name

    @property
    def namespace(self) -> str:
        """Where it is."""
        return self._api.namespace

    async def read(self, *, timeout: float) -> Lease | None:
        """The Lease as it is now, or None when there is none.

        Raises:
            ApiError: It could not be had within `timeout` seconds.
        """
        try:
            return self._checked(await self._api.get(LEASES, self.name, timeout=timeout))
        except NotFound:
            return None

    async def write(self, lease: Lease, *, timeout: float) -> Lease:
        """Make it, or put it in the place of the version that it was made from.

        Raises:
            Conflict: It has changed since, or was made by somebody else.
            NotFound: It is gone.
            ApiError: After `ApiUnreachable` and `ApiFailed` it may have been written all the same.
        """
        new = lease.as_object(self.name, self.namespace)
        write = self._api.replace if lease.version else self._api.create
        return self._checked(await write(LEASES, new, timeout=timeout))

    def _checked(self, found: Object) -> Lease:
        lease = Lease.of(found)
        # Comparable by the API's own word since Kubernetes 1.35 (KEP-5504), and etcd's revision in those before.
        if not (lease.version.isascii() and lease.version.isdigit() and int(lease.version)):
            raise VersionUnusable(self.name, self.namespace, lease.version)
        return lease


def _text(spec: Mapping[str, Any], key: str) -> str:
    value = spec.get(key)
    return value if isinstance(value, str) else ""


def _number(spec: Mapping[str, Any], key: str) -> int:
    value = spec.get(key)
    return value if isinstance(value, int) else 0
