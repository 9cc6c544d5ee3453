"""The settings of leadership: how it is decided, and by which Lease."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from eggycore.config import Duration, Settings, env
from eggycore.config.units import format_duration
from eggycore.errors import ConfigProblem

__all__ = ["LeadershipSettings", "lease_name"]

LONGEST = 52
"""Letters of a name that is made of the service's, as in `eggycore k8s manifests`."""

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class LeadershipSettings(Settings):
    """How the replicas decide who leads. Without effect where nothing asks for leadership."""

    mode: Literal["lease", "alone"] = env(
        "K8S_LEADERSHIP",
        default=lambda facts: "lease" if facts.kubernetes else "alone",
        default_doc="lease in Kubernetes, else alone",
        doc="How the leader is found that leader-only services run on: lease, the replicas elect one; alone, this"
        " process leads because there is no other.",
    )
    lease: str | None = env(
        "K8S_LEASE_NAME",
        default=None,
        default_doc="the service's name",
        doc="The Lease by which the replicas elect their leader.",
    )
    duration: Duration = env(
        "K8S_LEASE_DURATION",
        default=15.0,
        ge=2.0,
        le=3600.0,
        doc="Time after which another replica takes over from a leader that is gone; the leader gives up at two thirds"
        " of it when it cannot renew the Lease. Whole seconds.",
    )

    def problems(self) -> Iterable[ConfigProblem]:
        """What is wrong across the settings."""
        if self.lease is not None and not _NAME.fullmatch(self.lease):
            yield ConfigProblem(
                key="K8S_LEASE_NAME",
                value=self.lease,
                reason="no name of a Lease",
                action="Use lower-case letters, digits, hyphens and dots, as kubectl get leases shows it.",
            )
        if self.duration != int(self.duration):
            yield ConfigProblem(
                key="K8S_LEASE_DURATION",
                value=format_duration(self.duration),
                reason="no whole number of seconds",
                action="Round it, for example to 15s: a Lease knows seconds only.",
            )


def lease_name(settings: LeadershipSettings, service: str) -> str:
    """The name of the Lease: the one that is set, or the service's in the letters that names in Kubernetes have."""
    return settings.lease or re.sub(r"[^a-z0-9]+", "-", service.lower()).strip("-")[:LONGEST].strip("-") or "leader"
