"""The API server that tests use answers as kube-apiserver does: what both are held to.

EGGYCORE_TEST_KUBERNETES names the kubeconfig of a real one, and the same tests run against that as well.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.kubernetes_client import Client, client_of
from tests.servers.kubernetes import KubernetesAPI

REAL = os.environ.get("EGGYCORE_TEST_KUBERNETES", "")

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


@pytest.fixture(params=["double", "real"] if REAL else ["double"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Somebody who may do everything, in a namespace of the test's own."""
    if request.param == "double":
        with KubernetesAPI() as api:
            yield Client(url=api.url)
        return
    real = client_of(Path(REAL), namespace=f"test-{uuid.uuid4().hex[:12]}")
    made = real.call("POST", "/api/v1/namespaces", {"metadata": {"name": real.namespace}})
    assert made.status == 201, made.text
    yield real
    for plural in ("configmaps", "leases"):
        real.delete(plural, "")


def test_a_created_object_has_what_the_server_adds(client: Client) -> None:
    answer = client.create("configmaps", "forms", data={"LOG_LEVEL": "debug"}, metadata={"labels": {"app": "forms"}})
    made = answer.body
    assert answer.status == 201
    assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")
    assert made["data"] == {"LOG_LEVEL": "debug"}
    metadata = made["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("forms", client.namespace)
    assert metadata["labels"] == {"app": "forms"}
    assert int(metadata["resourceVersion"]) > 1
    assert uuid.UUID(metadata["uid"])
    assert metadata["creationTimestamp"].endswith("Z")
    assert client.get("configmaps", "forms").body == made


def test_a_list_alone_says_the_kind_of_its_items(client: Client) -> None:
    client.create("configmaps", "b", data={"x": "1"})
    client.create("configmaps", "a")
    listed = client.get("configmaps").body
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert [each["metadata"]["name"] for each in listed["items"]] == ["a", "b"]
    assert all("kind" not in each and "apiVersion" not in each for each in listed["items"])
    newest = client.get("configmaps", "a").body["metadata"]["resourceVersion"]
    assert int(listed["metadata"]["resourceVersion"]) >= int(newest)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=forms", ["forms"]),
        ("app==forms", ["forms"]),
        ("app!=forms", ["none", "other"]),
        ("app in (forms, other)", ["forms", "other"]),
        ("app notin (forms)", ["none", "other"]),
        ("app", ["forms", "other"]),
        ("!app", ["none"]),
        ("app,tier=web", ["other"]),
        ("eggycore.example/app", []),
        ("", ["forms", "none", "other"]),
    ],
)
def test_labels_select(client: Client, selector: str, names: list[str]) -> None:
    client.create("configmaps", "forms", metadata={"labels": {"app": "forms"}})
    client.create("configmaps", "other", metadata={"labels": {"app": "other", "tier": "web"}})
    client.create("configmaps", "none")
    found = client.get("configmaps", labelSelector=selector).body["items"]
    assert [each["metadata"]["name"] for each in found if each["metadata"]["name"] != "kube-root-ca.crt"] == names


def test_a_name_selects(client: Client) -> None:
    client.create("configmaps", "a")
    client.create("configmaps", "b")
    found = client.get("configmaps", fieldSelector="metadata.name=b").body["items"]
    assert [each["metadata"]["name"] for each in found] == ["b"]
    assert client.get("configmaps", fieldSelector="data=b").told == (
        400,
        "BadRequest",
        '"data" is not a known field selector: only "metadata.name", "metadata.namespace"',
    )
    assert client.get("configmaps", labelSelector="a b").status == 400


def test_pages_show_one_state(client: Client) -> None:
    for name in "abc":
        client.create("configmaps", name)
    first = client.get("configmaps", limit=1).body
    client.delete("configmaps", "c")
    client.create("configmaps", "bb")
    names, page = [each["metadata"]["name"] for each in first["items"]], first
    assert first["metadata"]["remainingItemCount"] == 2
    while token := page["metadata"].get("continue"):
        page = client.get("configmaps", limit=1, **{"continue": token}).body
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        names += [each["metadata"]["name"] for each in page["items"]]
    assert names == ["a", "b", "c"]


def test_the_last_page_of_a_selection_may_be_empty(client: Client) -> None:
    client.create("configmaps", "a", metadata={"labels": {"app": "forms"}})
    client.create("configmaps", "b")
    page = client.get("configmaps", limit=1, labelSelector="app").body
    assert "remainingItemCount" not in page["metadata"]
    rest = client.get("configmaps", limit=1, labelSelector="app", **{"continue": page["metadata"]["continue"]}).body
    assert rest["items"] == []
    assert "continue" not in rest["metadata"]


def test_what_is_not_there(client: Client) -> None:
    assert client.get("configmaps", "nope").told == (404, "NotFound", 'configmaps "nope" not found')
    assert client.delete("configmaps", "nope").told == (404, "NotFound", 'configmaps "nope" not found')
    absent = 'leases.coordination.k8s.io "nope" not found'
    assert client.get("leases", "nope").told == (404, "NotFound", absent)
    assert client.get("leases", "nope").body["details"] == {
        "name": "nope",
        "group": "coordination.k8s.io",
        "kind": "leases",
    }
    assert client.replace("configmaps", client.made("nope")).told == (404, "NotFound", 'configmaps "nope" not found')
    missing = (404, "NotFound", "the server could not find the requested resource")
    assert client.get("nothings").told == missing


def test_one_name_is_there_once(client: Client) -> None:
    client.create("configmaps", "forms")
    assert client.create("configmaps", "forms").told == (409, "AlreadyExists", 'configmaps "forms" already exists')


def test_a_name_can_be_made_up(client: Client) -> None:
    made = client.call("POST", client.path("configmaps"), {"metadata": {"generateName": "forms-"}}).body
    assert made["metadata"]["name"].startswith("forms-")
    assert len(made["metadata"]["name"]) == len("forms-") + 5


def test_a_put_of_an_old_version_is_refused(client: Client) -> None:
    old = client.create("configmaps", "forms", data={"x": "1"}).body
    new = client.replace("configmaps", old | {"data": {"x": "2"}})
    assert new.status == 200
    assert int(new.body["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
    assert client.replace("configmaps", old | {"data": {"x": "3"}}).told == (
        409,
        "Conflict",
        f'Operation cannot be fulfilled on configmaps "forms": {MODIFIED}',
    )
    assert client.get("configmaps", "forms").body["data"] == {"x": "2"}


def test_a_put_without_a_version_replaces_whatever_there_is(client: Client) -> None:
    client.create("configmaps", "forms", data={"x": "1"}, metadata={"labels": {"app": "forms"}})
    put = client.replace("configmaps", client.made("forms", data={"y": "2"})).body
    assert put["data"] == {"y": "2"}
    assert "labels" not in put["metadata"]


def test_a_put_of_the_same_writes_nothing(client: Client) -> None:
    made = client.create("configmaps", "forms", data={"x": "1"}).body
    with client.watch("configmaps", resourceVersion=made["metadata"]["resourceVersion"]) as events:
        assert client.replace("configmaps", made).body == made
        client.create("configmaps", "other")
        assert next(events)["object"]["metadata"]["name"] == "other"


def test_a_put_of_another_one_of_that_name_is_refused(client: Client) -> None:
    old = client.create("leases", "billing", spec={}).body
    client.delete("leases", "billing")
    gone = client.replace("leases", old)
    assert gone.told[:2] == (409, "Conflict")
    assert gone.told[2].endswith(f"UID in precondition: {old['metadata']['uid']}, UID in object meta: ")
    again = client.create("leases", "billing", spec={}).body
    other = client.replace("leases", old)
    assert other.told[:2] == (409, "Conflict")
    assert other.told[2].endswith(again["metadata"]["uid"])


def test_a_put_creates_a_lease_that_is_not_there(client: Client) -> None:
    put = client.replace("leases", client.made("billing", spec={"holderIdentity": "a"}))
    assert (put.status, put.body["spec"]) == (201, {"holderIdentity": "a"})
    client.delete("leases", "billing")
    versioned = client.made("billing", metadata={"resourceVersion": put.body["metadata"]["resourceVersion"]})
    assert client.replace("leases", versioned).status == 201  # nothing is there that could be of another version


def test_a_lease_s_times_have_six_digits(client: Client) -> None:
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0}
    times = {"acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T02:00:00.123456+02:00"}
    made = client.create("leases", "billing", spec=spec | times).body
    assert made["spec"] == spec | times | {"renewTime": "2026-01-01T00:00:00.123456Z"}
    for time in ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123Z", "2026-01-01T00:00:00.1234567Z", "now"):
        refused = client.create("leases", "other", spec=spec | {"renewTime": time})
        assert refused.told[:2] == (400, "BadRequest"), time


def test_a_lease_against_the_rules(client: Client) -> None:
    assert client.create("leases", "billing", spec={"leaseDurationSeconds": 0}).told == (
        422,
        "Invalid",
        'Lease.coordination.k8s.io "billing" is invalid: spec.leaseDurationSeconds: Invalid value: 0:'
        " must be greater than 0",
    )
    for spec in ({"leaseDurationSeconds": "15"}, {"leaseDurationSeconds": 1.5}, {"holderIdentity": 3}):
        assert client.create("leases", "billing", spec=spec).told[:2] == (400, "BadRequest"), spec


def test_a_configmap_against_the_rules(client: Client) -> None:
    assert client.create("configmaps", "forms", data={"x": 1}).told[:2] == (400, "BadRequest")
    assert client.create("configmaps", "forms", data={"a b": "1"}).told[:2] == (422, "Invalid")
    assert client.create("configmaps", "For_ms").told[:2] == (422, "Invalid")
    assert client.create("configmaps", "forms", data={"x": "x" * 2**20}).status == 201
    assert client.create("configmaps", "large", data={"x": "x" * (2**20 + 1)}).told == (
        422,
        "Invalid",
        'ConfigMap "large" is invalid: []: Too long: must have at most 1048576 bytes',
    )
    client.create("configmaps", "fixed", data={"x": "1"}, immutable=True)
    changed = client.replace("configmaps", client.made("fixed", data={"x": "2"}, immutable=True))
    why = "data: Forbidden: field is immutable when `immutable` is set"
    assert changed.told == (422, "Invalid", f'ConfigMap "fixed" is invalid: {why}')


def test_what_is_no_object(client: Client) -> None:
    for body in (b"{nope", b"", b"[1]"):
        refused = client.call("POST", client.path("configmaps"), body)
        assert refused.told[:2] == (400, "BadRequest"), body
    huge = client.create("configmaps", "forms", data={"x": "x" * 3_200_000})
    assert huge.told[:2] == (413, "RequestEntityTooLarge")
    other = client.create("configmaps", "forms", metadata={"namespace": "elsewhere"})
    assert other.told == (
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    )
    named = client.call("PUT", client.path("configmaps", "forms"), client.made("other"))
    message = "the name of the object (other) does not match the name on the URL (forms)"
    assert named.told == (400, "BadRequest", message)


def test_a_delete_may_name_what_it_means(client: Client) -> None:
    made = client.create("leases", "billing", spec={}).body
    other = client.delete("leases", "billing", {"preconditions": {"resourceVersion": "1"}})
    assert other.told[:2] == (409, "Conflict")
    done = client.delete("leases", "billing", {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert (done.status, done.body["status"], done.body["details"]["uid"]) == (200, "Success", made["metadata"]["uid"])
    assert client.get("leases", "billing").status == 404


def test_a_watch_tells_what_comes_after_its_version(client: Client) -> None:
    first = client.create("configmaps", "forms", data={"x": "1"}).body
    with client.watch("configmaps", resourceVersion=first["metadata"]["resourceVersion"]) as events:
        second = client.replace("configmaps", client.made("forms", data={"x": "2"})).body
        client.delete("configmaps", "forms")
        assert next(events) == {"type": "MODIFIED", "object": second}
        deleted = next(events)
    assert deleted["type"] == "DELETED"
    assert deleted["object"]["data"] == {"x": "2"}
    assert int(deleted["object"]["metadata"]["resourceVersion"]) > int(second["metadata"]["resourceVersion"])


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
def test_a_watch_from_nowhere_begins_with_what_there_is(client: Client, query: dict[str, str]) -> None:
    made = client.create("configmaps", "forms").body
    with client.watch("configmaps", fieldSelector="metadata.name=forms", **query) as events:
        assert next(events) == {"type": "ADDED", "object": made}


def test_a_watch_sees_objects_come_into_its_selection_and_leave_it(client: Client) -> None:
    made = client.create("configmaps", "forms").body
    version = made["metadata"]["resourceVersion"]
    with client.watch("configmaps", labelSelector="app=forms", resourceVersion=version) as events:
        labelled = client.made("forms", metadata={"labels": {"app": "forms"}})
        client.replace("configmaps", labelled)
        client.replace("configmaps", client.made("forms", metadata={"labels": {"app": "other"}}, data={"x": "1"}))
        added, deleted = next(events), next(events)
    assert (added["type"], added["object"]["metadata"]["labels"]) == ("ADDED", {"app": "forms"})
    assert (deleted["type"], deleted["object"]["metadata"]["labels"]) == ("DELETED", {"app": "forms"})
    assert "data" not in deleted["object"]
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in (added, deleted)]
    assert versions == sorted(set(versions))  # of the write that took it out, not of the state that is shown


def test_a_watch_ends_after_its_time(client: Client) -> None:
    with client.watch("leases", timeoutSeconds=1) as events:
        assert list(events) == []


def test_a_watch_from_a_version_that_is_forgotten(client: Client) -> None:
    client.create("configmaps", "forms")
    with client.watch("configmaps", resourceVersion=1) as events:
        (event,) = events
    status = event["object"]
    assert event["type"] == "ERROR"
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


def test_a_list_of_a_version_that_is_forgotten(client: Client) -> None:
    told = (410, "Expired", "The resourceVersion for the provided list is too old.")
    if client.get("configmaps", resourceVersion=1, resourceVersionMatch="Exact").status == 200:
        pytest.skip("this server has not forgotten anything yet")
    assert client.get("configmaps", resourceVersion=1, resourceVersionMatch="Exact").told == told


def test_a_watch_is_told_of_news_elsewhere_by_a_bookmark_before_its_end(client: Client) -> None:
    made = client.create("configmaps", "forms").body
    query = {"resourceVersion": made["metadata"]["resourceVersion"], "allowWatchBookmarks": "true"}
    with client.watch("configmaps", timeoutSeconds=3, fieldSelector="metadata.name=none", **query) as events:
        other = client.create("configmaps", "other").body
        bookmark, *_ = list(events)
    assert bookmark["type"] == "BOOKMARK"
    metadata = {"resourceVersion": other["metadata"]["resourceVersion"], "creationTimestamp": None}
    assert bookmark["object"] == {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}


def test_versions_that_are_none(client: Client) -> None:
    too_large = client.get("configmaps", resourceVersion=2**53)
    assert too_large.told[:2] == (504, "Timeout")
    assert too_large.headers["Retry-After"] == "1"
    assert too_large.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert client.get("configmaps", resourceVersion="x").status == 500  # not the 400 that one would expect
    assert client.get("configmaps", **{"continue": "x"}).told[:2] == (400, "BadRequest")
