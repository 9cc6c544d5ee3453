"""`eggycore k8s manifests`: what no manifests can be written for, and what is said of it."""

from __future__ import annotations

from importlib import import_module

import pytest

kit = import_module("plugins.eggycore-k8s-watch.tests.manifest_world")
world = pytest.fixture(kit.world)
PLUGINS = ("--plugins", "db,cache,monitoring,k8s-watch")


@pytest.mark.parametrize(
    ("words", "report"),
    [
        (
            ("--set", "ENABLE_HEALTH_CHECK=false"),
            "No manifests can be written: the health probes are switched off.\n"
            "  cause:  ENABLE_HEALTH_CHECK is false, and the kubelet could not tell whether a pod serves.\n"
            "  action: Set ENABLE_HEALTH_CHECK=true.",
        ),
        (
            ("--set", "BUSINESS_HTTP_PORT=0"),
            "No manifests can be written: BUSINESS_HTTP_PORT is 0.\n"
            "  cause:  The process would take any free port, which no manifest can name.\n"
            "  action: Set BUSINESS_HTTP_PORT to a port, or leave it out for its default.",
        ),
        (
            ("--set", "BIND_HOST=127.0.0.1"),
            "No manifests can be written: BIND_HOST is 127.0.0.1.\n"
            "  cause:  Neither the kubelet nor a Service reaches what listens on the loopback of a pod.\n"
            "  action: Leave BIND_HOST out: in a pod it is 0.0.0.0.",
        ),
        (
            (*PLUGINS, "--set", "DATABASE_ALLOW_EMBEDDED=true", "--replicas", "3"),
            "No manifests can be written: DATABASE_ALLOW_EMBEDDED is true, and 3 replicas are asked for.\n"
            "  cause:  Each replica would have an SQLite file of its own.\n"
            "  action: Take DATABASE_ALLOW_EMBEDDED back and put DATABASE_DSN into the Secret, or give --replicas 1.",
        ),
        (
            ("--set", "SERVICE_NAME=123"),
            "No manifests can be written: SERVICE_NAME '123' makes no name for objects.\n"
            "  cause:  Such a name has small letters, digits and hyphens, and begins with a letter.\n"
            "  action: Set SERVICE_NAME to one.",
        ),
        (
            ("--kind", "ServiceMonitor", "--plugins", ""),
            "No manifests can be written: the app needs no ServiceMonitor.\n"
            "  cause:  With these plugins and settings nothing asks for it.\n"
            "  action: Select the plugin that does, or ask for another kind: ServiceAccount, Service, Deployment,"
            " PodDisruptionBudget, HorizontalPodAutoscaler, NetworkPolicy.",
        ),
        (
            ("--set", "SHOP_LIMIT=many"),
            "The configuration has 1 problem.\n\n"
            "1. SHOP_LIMIT 'many': not a whole number.\n"
            "     cause:  It was set in --set, declared by app eggyapp_shop.\n"
            "     action: Set it to a whole number of at least 1.",
        ),
        (
            ("-o", "pyproject.toml"),
            "No manifests can be written: pyproject.toml cannot be written.\n"
            "  cause:  The system says: File exists.\n"
            "  action: Name a folder that this user can write to with -o.",
        ),
    ],
)
def test_what_no_manifests_can_be_written_for_is_said(world, words: tuple[str, ...], report: str) -> None:
    result = world.run("manifests", *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == f"eggycore: {report}\n"
