"""`eggycore k8s check`: a watched ConfigMap, and the rights that the app needs for it."""

from __future__ import annotations

from importlib import import_module

import pytest

kit = import_module("plugins.eggycore-k8s-watch.tests.manifest_world")
world = pytest.fixture(kit.world)
findings, WATCHING, LIVE, ROLE = kit.findings, kit.WATCHING, kit.LIVE, kit.ROLE


def test_a_watched_configmap_and_the_role_for_it_are_right(world) -> None:
    assert findings(world, f"{WATCHING}{LIVE}  SHOP_GREETING: hi\n{ROLE}") == []


@pytest.mark.parametrize(
    ("line", "state", "what"),
    [
        ("SHOP_LIMIT: '5'", "red", "SHOP_LIMIT stands in the ConfigMap, and only a restart could change it."),
        ("SHOP_TOKEN: hunter2", "red", "SHOP_TOKEN is written in plain text."),
        ("LOG_LEVEL: loud", "red", "LOG_LEVEL 'loud': not one of the choices."),
        ("SHOP_GRETING: hi", "warning", "Nobody reads SHOP_GRETING. Did you mean 'SHOP_GREETING'?"),
    ],
)
def test_what_a_watched_configmap_may_not_hold_is_told(world, line: str, state: str, what: str) -> None:
    found = findings(world, f"{WATCHING}{LIVE}  {line}\n{ROLE}")
    assert (state, what, "ConfigMap shop-live") in [(one["state"], one["what"], one["object"]) for one in found]


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ("[get, list, watch]", "[get]", "list, watch"),
        ("resourceNames: [shop-live]", "resourceNames: [other]", "get, list, watch"),
        ("name: shop, namespace: prod}]", "name: other, namespace: prod}]", "get, list, watch"),
        ('apiGroups: [""]', "apiGroups: [apps]", "get, list, watch"),
    ],
)
def test_rights_that_a_role_does_not_give_are_told(world, old: str, new: str, missing: str) -> None:
    (finding,) = findings(world, f"{WATCHING}{ROLE.replace(old, new)}")
    assert (finding["state"], finding["what"], finding["action"]) == (
        "red",
        f"ServiceAccount shop may not {missing} configmaps shop-live.",
        "Take the Role and the RoleBinding of: eggycore k8s manifests --kind Role --kind RoleBinding",
    )


def test_a_role_that_is_not_here_is_a_warning(world) -> None:
    (finding,) = findings(world, WATCHING)
    assert (finding["state"], finding["what"]) == (
        "warning",
        "No Role here allows ServiceAccount shop to get, list, watch configmaps shop-live.",
    )


def test_a_right_to_create_cannot_be_held_to_a_name(world) -> None:
    text = WATCHING.replace("value: alone", "value: lease").replace(
        "shop-live}", "shop-live}\n        - {name: K8S_LEASE_NAME, value: shop}"
    )
    lease = (
        "- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [shop],"
        " verbs: [get, create, update]}\n---"
    )
    (finding,) = findings(world, text + ROLE.replace("watch]}\n---", f"watch]}}\n{lease}", 1))
    assert finding["what"] == "ServiceAccount shop may not create leases shop."


def test_a_pod_without_a_token_is_told(world) -> None:
    text = WATCHING.replace(
        "serviceAccountName: shop", "serviceAccountName: shop\n      automountServiceAccountToken: false"
    )
    (finding,) = findings(world, f"{text}{ROLE}")
    assert finding["what"] == "The pod gets no token (automountServiceAccountToken is false)."
