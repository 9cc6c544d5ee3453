"""What can go wrong with the API server that tests use: it dies, stalls, forgets, refuses, and comes back."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.infra.kubernetes_client import Client
from tests.servers.kubernetes import KubernetesAPI
from tests.servers.kubernetes_status import ApiStatus
from tests.servers.processes import wait_until

END = b"0\r\n\r\n"
"""Of a chunked answer that is whole."""

USER = "system:serviceaccount:shop:forms"


@pytest.fixture
def api(kubernetes_api: KubernetesAPI) -> KubernetesAPI:
    return kubernetes_api


@pytest.fixture
def client(api: KubernetesAPI) -> Client:
    return Client(url=api.url)


@contextmanager
def raw_watch(api: KubernetesAPI, seconds: int = 60) -> Iterator[socket.socket]:
    """A connection that has asked for a watch from now on."""
    path = f"/api/v1/configmaps?watch=1&timeoutSeconds={seconds}&resourceVersion={api.resource_version}"
    with socket.create_connection((api.host, api.port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        yield connection


def read_to_end(connection: socket.socket, end: bytes = b"") -> bytes:
    """What still comes until the server closes, or until this comes."""
    read = b""
    while not (end and read.endswith(end)) and (piece := connection.recv(65536)):
        read += piece
    return read


@pytest.fixture
def one_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_what_a_test_puts_is_what_a_client_gets(api: KubernetesAPI, client: Client) -> None:
    api.put("configmaps", "shop", "forms", data={"x": "1"}, labels={"app": "forms"})
    put = api.put("configmaps", "shop", "forms", data={"x": "2"})
    assert client.get("configmaps", "forms").body == put == api.get("configmaps", "shop", "forms")
    assert "labels" not in put["metadata"]
    api.put("configmaps", "other", "forms")
    assert [each["metadata"]["namespace"] for each in api.list("configmaps")] == ["other", "shop"]
    assert [each["metadata"]["namespace"] for each in api.list("configmaps", "shop")] == ["shop"]
    api.delete("configmaps", "shop", "forms")
    with pytest.raises(ApiStatus, match='configmaps "forms" not found'):
        api.get("configmaps", "shop", "forms")
    with pytest.raises(ApiStatus, match="must be greater than 0"):
        api.put("leases", "shop", "billing", spec={"leaseDurationSeconds": 0})


def test_killed_and_restarted_it_has_its_port_and_what_it_kept(api: KubernetesAPI, client: Client) -> None:
    api.put("configmaps", "shop", "forms", data={"x": "1"})
    with raw_watch(api) as connection:
        wait_until(lambda: api.watching == 1)
        api.stop()
        assert not read_to_end(connection).endswith(END)
    with pytest.raises(ConnectionRefusedError):
        client.get("configmaps")
    api.put("configmaps", "shop", "forms", data={"x": "2"})
    api.start()
    assert client.get("configmaps", "forms").body["data"] == {"x": "2"}


def test_a_watch_whose_time_is_over_ends_as_http_wants_it(api: KubernetesAPI) -> None:
    with raw_watch(api, seconds=1) as connection:
        assert read_to_end(connection, END).endswith(END)


def test_stalled_it_answers_nothing_until_it_is_resumed(
    api: KubernetesAPI, client: Client, one_thread: ThreadPoolExecutor
) -> None:
    with client.watch("configmaps", resourceVersion=api.resource_version) as events:
        wait_until(lambda: api.watching == 1)
        api.stall()
        asked = one_thread.submit(client.get, "configmaps")
        put = api.put("configmaps", "shop", "forms")
        with pytest.raises(TimeoutError):
            asked.result(0.2)
        api.resume()
        assert next(events) == {"type": "ADDED", "object": put}
    assert [each["metadata"]["name"] for each in asked.result(5).body["items"]] == ["forms"]


def test_stalled_it_can_be_killed(api: KubernetesAPI, client: Client, one_thread: ThreadPoolExecutor) -> None:
    api.stall()
    asked = one_thread.submit(client.create, "configmaps", "forms")
    wait_until(lambda: asked.running())
    api.stop()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        asked.result(5)
    api.start()
    assert client.get("configmaps", "forms").status == 404


def test_cut_it_resets_every_connection_once(api: KubernetesAPI, client: Client) -> None:
    with client.watch("configmaps", resourceVersion=api.resource_version) as events:
        wait_until(lambda: api.watching == 1)
        api.cut()
        with pytest.raises(ConnectionResetError):
            next(events)
    assert client.get("configmaps").status == 200
    wait_until(lambda: api.watching == 0)


def test_cut_in_the_middle_of_a_line(api: KubernetesAPI, client: Client) -> None:
    with raw_watch(api) as connection:
        wait_until(lambda: api.watching == 1)
        api.cut_mid_line()
        api.put("configmaps", "shop", "forms")
        read = read_to_end(connection)
    assert b'{"type":"ADDED"' in read
    assert b"}}\n" not in read
    assert not read.endswith(END)
    wait_until(lambda: api.watching == 0)
    with client.watch("configmaps", resourceVersion=0) as events:
        assert next(events)["object"]["metadata"]["name"] == "forms"


def test_a_forgotten_version_as_an_event(api: KubernetesAPI, client: Client) -> None:
    version = api.resource_version
    with client.watch("configmaps", resourceVersion=version) as running:
        wait_until(lambda: api.watching == 1)
        api.compact()
        with client.watch("configmaps", resourceVersion=version) as events:
            (event,) = events
        assert event["type"] == "ERROR"
        assert event["object"]["message"] == f"too old resource version: {version} ({api.resource_version})"
        api.put("configmaps", "shop", "forms")
        assert next(running)["type"] == "ADDED"  # who has been told everything loses nothing


def test_a_forgotten_version_as_a_status(api: KubernetesAPI, client: Client) -> None:
    version = api.resource_version
    api.compact(answer="status")
    message = f"too old resource version: {version} ({api.resource_version})"
    assert client.get("configmaps", watch="1", resourceVersion=version).told == (410, "Expired", message)
    with client.watch("configmaps", resourceVersion=api.resource_version, timeoutSeconds=1) as events:
        assert list(events) == []


def test_open_watches_can_be_told_that_they_are_too_old(api: KubernetesAPI, client: Client) -> None:
    with client.watch("configmaps", resourceVersion=api.resource_version) as events:
        wait_until(lambda: api.watching == 1)
        api.compact(open_watches=True)
        assert [event["object"]["code"] for event in events] == [410]


def test_a_list_whose_state_is_forgotten_is_continued_with_another_token(api: KubernetesAPI, client: Client) -> None:
    for name in "abc":
        api.put("configmaps", "shop", name)
    token = client.get("configmaps", limit=1).body["metadata"]["continue"]
    api.compact()
    refused = client.get("configmaps", limit=1, **{"continue": token})
    assert refused.told[:2] == (410, "Expired")
    assert refused.told[2].startswith("The provided continue parameter is too old to display a consistent list result.")
    other = refused.body["metadata"]["continue"]
    rest = client.get("configmaps", **{"continue": other}).body
    assert [each["metadata"]["name"] for each in rest["items"]] == ["b", "c"]


def test_bookmarks_come_as_often_as_they_are_wanted_and_to_who_wants_them(api: KubernetesAPI, client: Client) -> None:
    api.bookmark_every(0.05)
    query = {"resourceVersion": api.resource_version, "timeoutSeconds": 1}
    with client.watch("leases", allowWatchBookmarks="true", **query) as events:
        marks = list(events)
    assert len(marks) > 5
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in marks]
    assert versions == sorted(set(versions))
    assert marks[0]["object"]["spec"] == {}
    with client.watch("leases", **query) as events:
        assert list(events) == []


def test_refusals_count_choose_and_say_when_to_come_again(api: KubernetesAPI, client: Client) -> None:
    api.refuse(429, times=1)
    busy = client.get("configmaps")
    assert (busy.status, busy.text) == (429, "Too many requests, please try again later.\n")
    assert busy.headers["Retry-After"] == "1"
    assert client.get("configmaps").status == 200
    api.refuse(500, retry_after=3, match=lambda call: call.verb == "list" and call.resource == "leases")
    failed = client.get("leases")
    assert failed.told == (500, "InternalError", "Internal error occurred: etcdserver: request timed out")
    assert failed.headers["Retry-After"] == "3"
    assert client.get("configmaps").status == 200
    api.allow()
    assert client.get("leases").status == 200
    api.refuse(503)
    message = "the server is currently unable to handle the request"
    assert client.get("leases").told == (503, "ServiceUnavailable", message)


def test_rbac_s_words(api: KubernetesAPI) -> None:
    api.know("secret", USER)
    client = Client(url=api.url, token="secret")
    api.deny("*", "configmaps")
    api.deny("update", "leases")
    group = 'in API group "" in the namespace "shop"'
    assert client.get("configmaps").told == (
        403,
        "Forbidden",
        f'configmaps is forbidden: User "{USER}" cannot list resource "configmaps" {group}',
    )
    assert client.get("configmaps", fieldSelector="metadata.name=forms", watch="1").told == (
        403,
        "Forbidden",
        f'configmaps "forms" is forbidden: User "{USER}" cannot watch resource "configmaps" {group}',
    )
    assert client.replace("leases", client.made("billing")).told == (
        403,
        "Forbidden",
        f'leases.coordination.k8s.io "billing" is forbidden: User "{USER}" cannot update resource "leases" in API group'
        ' "coordination.k8s.io" in the namespace "shop"',
    )
    everywhere = client.call("GET", "/api/v1/configmaps").told[2]
    assert everywhere.endswith('cannot list resource "configmaps" in API group "" at the cluster scope')
    assert client.create("leases", "billing").status == 201
    api.allow()
    assert client.get("configmaps").status == 200


def test_only_known_tokens(api: KubernetesAPI, client: Client) -> None:
    api.require_tokens({"good"})
    assert client.get("configmaps").told == (401, "Unauthorized", "Unauthorized")
    assert replace(client, token="bad").get("configmaps").status == 401
    assert replace(client, token="good").get("configmaps").status == 200
    api.require_tokens(None)
    assert client.get("configmaps").status == 200


def test_a_delay(api: KubernetesAPI, client: Client) -> None:
    api.delay(0.2, match=lambda call: call.name == "forms")
    begin = time.monotonic()
    client.get("configmaps", "other")
    between = time.monotonic()
    client.get("configmaps", "forms")
    assert between - begin < 0.2 <= time.monotonic() - between


def test_an_answer_that_is_lost_has_been_carried_out(
    api: KubernetesAPI, client: Client, one_thread: ThreadPoolExecutor
) -> None:
    api.lose_answers(times=1, match=lambda call: call.verb == "create")
    asked = one_thread.submit(client.create, "leases", "billing")
    wait_until(lambda: len(api.list("leases")) == 1)
    with pytest.raises(TimeoutError):
        asked.result(0.1)
    assert client.create("leases", "billing").status == 409
    api.cut()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        asked.result(5)


def test_a_trickle_is_whole_in_the_end(api: KubernetesAPI, client: Client) -> None:
    put = api.put("configmaps", "shop", "forms", data={"x": "é" * 100})
    api.trickle(50, 0.001)
    assert client.get("configmaps", "forms").body == put
    with client.watch("configmaps") as events:
        assert next(events)["object"] == put


def test_a_delete_that_no_watch_is_told_of(api: KubernetesAPI, client: Client) -> None:
    for name in ("a", "b"):
        api.put("configmaps", "shop", name)
    version = api.resource_version
    with client.watch("configmaps", resourceVersion=version) as events:
        api.lose_next_delete()
        api.delete("configmaps", "shop", "a")
        api.delete("configmaps", "shop", "b")
        assert next(events)["object"]["metadata"]["name"] == "b"
    assert client.get("configmaps").body["items"] == []


def test_every_request_is_known(api: KubernetesAPI, client: Client) -> None:
    before = time.monotonic()
    client.create("leases", "billing")
    client.get("configmaps", labelSelector="app=forms")
    client.get("configmaps", "none")
    client.call("GET", "/version")
    asked = [(call.method, call.path, dict(call.query), call.verb, call.name, call.status) for call in api.requests]
    assert asked == [
        ("POST", "/apis/coordination.k8s.io/v1/namespaces/shop/leases", {}, "create", "", 201),
        ("GET", "/api/v1/namespaces/shop/configmaps", {"labelSelector": "app=forms"}, "list", "", 200),
        ("GET", "/api/v1/namespaces/shop/configmaps/none", {}, "get", "none", 404),
        ("GET", "/version", {}, "GET", "", 200),
    ]
    times = [before, *(call.at for call in api.requests), time.monotonic()]
    assert times == sorted(times)


def test_a_write_is_told_within_milliseconds(api: KubernetesAPI, client: Client) -> None:
    with client.watch("configmaps", resourceVersion=api.resource_version) as events:
        wait_until(lambda: api.watching == 1)
        delays = []
        for number in range(50):
            begin = time.monotonic()
            api.put("configmaps", "shop", "forms", data={"n": str(number)})
            next(events)
            delays.append(time.monotonic() - begin)
    assert sorted(delays)[25] < 0.02


def test_many_writers_leave_one_order(api: KubernetesAPI, client: Client) -> None:
    version = api.resource_version

    def write(name: str) -> None:
        for number in range(20):
            api.put("configmaps", "shop", name, data={"n": str(number)})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    with client.watch("configmaps", resourceVersion=version) as events:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen = [next(events)["object"] for _ in range(80)]
    versions = [int(each["metadata"]["resourceVersion"]) for each in seen]
    assert versions == list(range(version + 1, version + 81))
    for name in "abcd":
        assert [each["data"]["n"] for each in seen if each["metadata"]["name"] == name] == [str(n) for n in range(20)]
