"""The parts that the plugin declares for leadership: what provides it, what contends for it, and its health check."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from eggycore.types import HealthCheck, Initializer, Leadership, Service
from eggycore_k8s_watch.access import Access, find_access
from eggycore_k8s_watch.election import Election
from eggycore_k8s_watch.identity import new_identity
from eggycore_k8s_watch.leadership import LeaseLeadership
from eggycore_k8s_watch.leadership_settings import LeadershipSettings, lease_name
from eggycore_k8s_watch.leases import LeaseStore
from eggycore_k8s_watch.settings import K8sWatchSettings

if TYPE_CHECKING:
    from eggycore.runtime import Runtime

__all__ = ["NAME", "elected", "election_service", "leadership_check", "leadership_initializer"]

NAME = "leadership"
"""The name of the initializer and of its health check."""


def elected(runtime: Runtime, *, access: Callable[[], Access] | None = None) -> LeaseLeadership:
    """Leadership by the Lease that the settings name.

    Args:
        runtime: The runtime.
        access: Where the API server is; what the settings and the process environment say when None.
    """
    cluster, settings = runtime.config[K8sWatchSettings], runtime.config[LeadershipSettings]
    find = access or partial(find_access, kubeconfig=cluster.kubeconfig, context=cluster.context)
    name = lease_name(settings, runtime.name)

    @asynccontextmanager
    async def store() -> AsyncIterator[LeaseStore]:
        from eggycore_k8s_watch.api import ApiClient

        async with ApiClient(find(), namespace=cluster.namespace, metrics=runtime.metrics) as api:
            yield LeaseStore(api, name)

    return LeaseLeadership(store, Election(new_identity(), duration=settings.duration), metrics=runtime.metrics)


def leadership_initializer(runtime: Runtime, leadership: LeaseLeadership) -> Initializer[Leadership]:
    """Provides leadership by a Lease; asks the API server at once where somebody is known to want it."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Leadership]:
        async with leadership.opened(wanted=Leadership in runtime.make_plan().wanted):
            yield leadership

    return Initializer(name=NAME, open=opened, provides=Leadership)


def election_service(leadership: LeaseLeadership) -> Service:
    """Contends for the Lease. Not critical: a replica that cannot contend still serves, as a standby does."""
    return Service(name="leadership-election", run=leadership.run, requires=(NAME,), critical=False)


def leadership_check(leadership: LeaseLeadership) -> HealthCheck:
    """Whether it can contend. Not critical, for the same reason."""
    return HealthCheck(name=NAME, check=leadership.check, critical=False)
