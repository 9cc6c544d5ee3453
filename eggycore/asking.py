"""Asks every plugin what it brings, and makes one plan of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from eggycore.adapters import as_initializer, as_service
from eggycore.listeners import Listeners
from eggycore.plan import Plan, Planned, Want, make_plan
from eggycore.plugins import PluginRecord
from eggycore.types import Origin

if TYPE_CHECKING:
    from eggycore.runtime import Runtime

__all__ = ["CORE", "ask_plugins"]

CORE = Origin("eggycore", kind="core")


def ask_plugins(runtime: Runtime, listeners: Listeners, provided: Iterable[type[Any]]) -> Plan:
    """Call the hooks of the plan, hook by hook and plugin by plugin; nothing is recorded any more after that.

    Args:
        runtime: What the hooks are handed.
        listeners: What it listens on, as recorded by the hooks.
        provided: Types of resources that are there without an initializer.

    Raises:
        HookFailed, WrongResult, PluginErrors: A plugin's hook failed.
        PlanError: The components do not fit together.
    """
    plugins = runtime.plugins
    initializers = plugins.call("init_infra", runtime=runtime)
    services = plugins.call("register_services", runtime=runtime)
    checks = plugins.call("register_health_checks", runtime=runtime)
    listeners.close()
    for record in plugins.degraded:
        runtime.health.report(f"plugin {record.name}", "DEGRADED", record.reason, critical=False)
    return make_plan(
        [Planned(as_initializer(one), origin) for origin, one in _declared_by(initializers)],
        [
            *(Planned(one, CORE) for one in listeners.services(runtime.config)),
            *(Planned(as_service(one), origin) for origin, one in _declared_by(services)),
        ],
        [Planned(one, origin) for origin, one in _declared_by(checks)],
        wants=list(_wants(listeners)),
        provided=provided,
        unselected=_unselected(plugins.records),
    )


def _declared_by(results: list[tuple[PluginRecord, list[Any]]]) -> Iterator[tuple[Origin, Any]]:
    """Who declared what; a plugin that became broken in a later hook brings nothing."""
    for record, several in results:
        if record.state == "active":
            for one in several:
                yield record.origin, one


def _wants(listeners: Listeners) -> Iterator[Want]:
    """The resources that recorded routes and servicers ask for."""
    routes = [(str(route), route.needs) for route in listeners.http.routes]
    servicers = [(f"gRPC servicer {servicer.name}", servicer.needs) for servicer in listeners.grpc.servicers]
    for owner, needs in (*routes, *servicers):
        for need in needs:
            yield Want(owner=owner, parameter=need.parameter, type_=need.type_)


def _unselected(records: Iterable[PluginRecord]) -> dict[str, str]:
    """Top-level package to name of every installed plugin that was not selected."""
    return {
        record.value.partition(":")[0].partition(".")[0]: record.name
        for record in records
        if record.state == "not selected"
    }
