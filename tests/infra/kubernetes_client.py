"""A plain client of a Kubernetes API server, for tests of the one that tests use, and of a real one beside it."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

PATIENCE = 10.0
"""Seconds for an answer, and for the next line of a watch."""

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Object:
        """The object in it."""
        read = json.loads(self.text)
        assert isinstance(read, dict)
        return read

    @property
    def told(self) -> tuple[int, str, str]:
        """HTTP status, reason and message of a Status object."""
        body = self.body
        assert (body["kind"], body["apiVersion"], body["status"]) == ("Status", "v1", "Failure")
        assert body["code"] == self.status
        return self.status, body.get("reason", ""), body["message"]


@dataclass(frozen=True, kw_only=True)
class Client:
    """One caller of an API server.

    Attributes:
        namespace: That the paths of its objects are in.
        identity: Certificate and key of the client.
    """

    url: str
    token: str = ""
    authority: Path | None = None
    namespace: str = "shop"
    identity: tuple[Path, Path] | None = None

    def path(self, plural: str, name: str = "", **query: object) -> str:
        """Of a collection or an object."""
        root = "/apis/coordination.k8s.io/v1" if plural == "leases" else "/api/v1"
        path = f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")
        return path + (f"?{urlencode(query)}" if query else "")

    def call(self, method: str, path: str, body: object = None) -> Answer:
        """One request with a connection of its own; `body` is sent as JSON, and bytes as they are."""
        connection = self._connection()
        try:
            sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, body=sent, headers=self._headers())
            response = connection.getresponse()
            return Answer(status=response.status, headers=dict(response.headers), text=response.read().decode())
        finally:
            connection.close()

    def get(self, plural: str, name: str = "", **query: object) -> Answer:
        """An object, or a list."""
        return self.call("GET", self.path(plural, name, **query))

    def create(self, plural: str, name: str, **fields: Any) -> Answer:
        """POST; `metadata` is merged."""
        return self.call("POST", self.path(plural), self.made(name, **fields))

    def replace(self, plural: str, made: Object) -> Answer:
        """PUT of an object as it is given."""
        return self.call("PUT", self.path(plural, made["metadata"]["name"]), made)

    def delete(self, plural: str, name: str, body: object = None) -> Answer:
        """DELETE."""
        return self.call("DELETE", self.path(plural, name), body)

    def made(self, name: str, *, metadata: Mapping[str, Any] = {}, **fields: Any) -> Object:
        """An object without apiVersion and kind, which the path says."""
        return {"metadata": {"name": name, **metadata}, **fields}

    @contextmanager
    def watch(self, plural: str, **query: object) -> Iterator[Iterator[Object]]:
        """The events of a watch that is answered with 200, until it ends; the block's end closes the connection."""
        connection = self._connection()
        try:
            connection.request("GET", self.path(plural, "", watch="true", **query), headers=self._headers())
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (json.loads(line) for line in response)
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        return headers | ({"Authorization": f"Bearer {self.token}"} if self.token else {})

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
        context = ssl.create_default_context(cafile=self.authority)
        if self.identity is not None:
            context.load_cert_chain(*self.identity)
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=PATIENCE, context=context)


def client_of(kubeconfig: Path, *, namespace: str) -> Client:
    """The client that a kubeconfig with a token and an authority's file describes."""
    read = yaml.safe_load(kubeconfig.read_text())
    cluster, user = read["clusters"][0]["cluster"], read["users"][0]["user"]
    authority = cluster.get("certificate-authority")
    return Client(
        url=cluster["server"],
        token=user.get("token", ""),
        authority=None if authority is None else Path(authority),
        namespace=namespace,
    )
