"""K8S_LEADERSHIP, K8S_LEASE_NAME and K8S_LEASE_DURATION."""

from __future__ import annotations

from typing import Any

import pytest

from eggycore.config import read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.runtime import Runtime
from eggycore.types import Service
from eggycore_k8s_watch import plugin
from eggycore_k8s_watch.leadership_settings import LeadershipSettings, lease_name

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


def report(**environ: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read_from_env(LeadershipSettings, environ)
    return render(diagnose(refused.value))


def planned(environ: dict[str, str]) -> dict[str, Any]:
    runtime = Runtime(objects=[("k8s-watch", plugin)], environ={"SERVICE_NAME": "t", **environ}, discover=False)
    plan = runtime.make_plan()
    return {
        kind: [one.name for one in components if one.name.startswith("leadership")]
        for kind, components in vars(plan).items()
        if kind in ("initializers", "services", "checks")
    }


def test_in_a_pod_the_replicas_elect_and_elsewhere_a_process_is_alone():
    assert read_from_env(LeadershipSettings, {}).mode == "alone"
    assert read_from_env(LeadershipSettings, IN_A_POD).mode == "lease"
    assert read_from_env(LeadershipSettings, IN_A_POD | {"K8S_LEADERSHIP": "alone"}).mode == "alone"


def test_who_is_alone_needs_no_election():
    assert planned({}) == {"initializers": ["leadership"], "services": [], "checks": []}
    assert planned(IN_A_POD) == {
        "initializers": ["leadership"],
        "services": ["leadership-election"],
        "checks": ["leadership"],
    }


@pytest.mark.parametrize(
    ("service", "name"),
    [("forms", "forms"), ("Forms_API v2", "forms-api-v2"), ("--", "leader"), ("f" * 90, "f" * 52)],
)
def test_the_lease_has_the_service_s_name(service: str, name: str):
    assert lease_name(LeadershipSettings(), service) == name


def test_a_name_that_is_set_is_taken_as_it_is():
    assert lease_name(read_from_env(LeadershipSettings, {"K8S_LEASE_NAME": "billing.v1"}), "forms") == "billing.v1"


def test_a_name_that_is_none():
    assert report(K8S_LEASE_NAME="Billing!") == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. K8S_LEASE_NAME 'Billing!': no name of a Lease.\n"
        "     cause:  It was set in the environment, declared by app eggycore_k8s_watch.leadership_settings.\n"
        "     action: Use lower-case letters, digits, hyphens and dots, as kubectl get leases shows it."
    )


def test_a_duration_that_a_lease_cannot_hold():
    assert report(K8S_LEASE_DURATION="2.5s") == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. K8S_LEASE_DURATION '2500ms': no whole number of seconds.\n"
        "     cause:  It was set in the environment, declared by app eggycore_k8s_watch.leadership_settings.\n"
        "     action: Round it, for example to 15s: a Lease knows seconds only."
    )
    assert "K8S_LEASE_DURATION '1s'" in report(K8S_LEASE_DURATION="1s")


def test_a_way_of_deciding_that_there_is_not():
    assert "K8S_LEADERSHIP 'leases'" in report(K8S_LEADERSHIP="leases")


def test_the_election_s_death_does_not_end_the_process():
    runtime = Runtime(objects=[("k8s-watch", plugin)], environ={"SERVICE_NAME": "t", **IN_A_POD}, discover=False)
    [election] = [one.value for one in runtime.make_plan().services if one.name == "leadership-election"]
    assert isinstance(election, Service)
    assert not election.critical
