"""Requests of the API server of the tests: from a path and a body to an object, a list, a watch or a Status."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import time
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from tests.servers import kubernetes_discovery
from tests.servers.kubernetes_faults import Call, Faults
from tests.servers.kubernetes_kinds import KINDS, Kind
from tests.servers.kubernetes_selectors import Matches, field_selector, label_selector, selected_name
from tests.servers.kubernetes_status import (
    ApiStatus,
    Object,
    bad_request,
    expired,
    failing,
    forbidden,
    invalid,
    malformed_version,
    method_not_allowed,
    no_such_resource,
    too_large_body,
    too_large_version,
    unauthorized,
    unsupported_media_type,
)
from tests.servers.kubernetes_store import Store
from tests.servers.kubernetes_watching import Watch, write

MAX_BODY = 3 * 1024 * 1024
"""Bytes of a request."""

NO_HEADERS: Mapping[str, str] = {}

MATCHES = ("", "Exact", "NotOlderThan")
"""How a list may relate to the version that it is asked for."""

_PATH = re.compile(
    r"(?P<root>/api/v1|/apis/[^/]+/[^/]+)(/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(/(?P<name>[^/]+))?"
)
_VERBS = {"POST": "create", "PUT": "update", "DELETE": "delete", "GET": "get", "PATCH": "patch"}
_BUSY = "Too many requests, please try again later.\n"


class Rest:
    """Answers requests. Lives in the server's loop.

    Attributes:
        watches: Those that are open.
        calls: Every request, in the order in which they arrived.
    """

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store, self._faults = store, faults
        self.watches: set[Watch] = set()
        self.calls: list[Call] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        query = dict(request.query.items())
        call = Call(at=time.monotonic(), method=request.method, path=request.path, query=query, verb=request.method)
        found = _PATH.fullmatch(request.path)
        kind = KINDS.get(found["plural"]) if found is not None else None
        if found is not None and kind is not None and found["root"] == kind.root:
            _place(call, found)
        else:
            kind = None
        self.calls.append(call)
        await self._faults.hold_back(call)
        try:
            return await self._answered(request, call, kind)
        except ApiStatus as status:
            return await self._sent(request, call, status.code, status.as_object(), status.headers())

    async def _answered(self, request: web.BaseRequest, call: Call, kind: Kind | None) -> web.StreamResponse:
        self._authenticate(request, call)
        refusal = self._faults.refusal(call)
        if refusal is not None and refusal.status == 429:  # priority and fairness answers without a Status
            wait = {"Retry-After": str(1 if refusal.retry_after is None else refusal.retry_after)}
            return await self._sent(request, call, 429, _BUSY, wait)
        if refusal is not None:
            raise failing(refusal.status, refusal.retry_after)
        if kind is None:
            return await self._of_itself(request, call)
        if self._faults.denies(call):
            raise forbidden(kind.named(call.name), user=call.user, verb=call.verb, namespace=call.namespace)
        if call.verb == "watch":
            return await self._watched(request, call, kind)
        body = await self._body(request, kind) if call.verb in ("create", "update", "delete") else {}
        status, answer = self._carried_out(call, kind, body)
        if self._faults.loses_answer(call):
            await asyncio.Event().wait()  # until the caller gives up
        return await self._sent(request, call, status, answer)

    def _authenticate(self, request: web.BaseRequest, call: Call) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token if scheme.lower() == "bearer" else ""
        certificate = request.get_extra_info("peercert")
        if certificate:
            names = dict(part for parts in certificate["subject"] for part in parts)
            call.user = str(names.get("commonName", ""))
            return
        if self._faults.tokens is not None and token not in self._faults.tokens:
            raise unauthorized()
        call.user = self._faults.users.get(token, "system:anonymous")

    async def _of_itself(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        if call.path in ("/readyz", "/livez", "/healthz"):
            return await self._sent(request, call, 200, "ok")
        document = kubernetes_discovery.document(call.path.rstrip("/"))
        if document is None:
            if call.path.startswith("/api/v1/") or call.path.startswith("/apis/coordination.k8s.io/v1/"):
                raise no_such_resource()
            return await self._sent(request, call, 404, "404 page not found\n")
        if call.method != "GET":
            raise method_not_allowed()
        return await self._sent(request, call, 200, document)

    def _carried_out(self, call: Call, kind: Kind, body: Any) -> tuple[int, Object]:
        namespace, name = call.namespace, call.name
        if call.verb == "list":
            return 200, self._listed(call, kind)
        if call.verb == "get":
            return 200, self._store.get(kind, namespace, name)
        if not namespace or (call.verb == "create") == bool(name) or call.verb == "patch":
            raise method_not_allowed()
        if call.verb == "delete":
            return 200, self._deleted(kind, namespace, name, body)
        given = kind.decoded(body)
        if given["metadata"].get("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if call.verb == "create":
            return 201, self._store.create(kind, namespace, given)
        given_name = given["metadata"].get("name")
        if not given_name:
            why = "undeterminable: name must be provided"
            raise bad_request(f"the name of the object ({name} based on URL) was {why}")
        if given_name != name:
            raise bad_request(f"the name of the object ({given_name}) does not match the name on the URL ({name})")
        put, created = self._store.replace(kind, namespace, name, given)
        return (201 if created else 200), put

    def _deleted(self, kind: Kind, namespace: str, name: str, options: Any) -> Object:
        preconditions = options.get("preconditions") or {} if isinstance(options, dict) else {}
        gone = self._store.delete(kind, namespace, name, preconditions)
        details = kind.named(name).details(uid=gone["metadata"]["uid"])
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _listed(self, call: Call, kind: Kind) -> Object:
        if call.query.get("sendInitialEvents"):
            raise _initial_events("list")
        _number(call, "timeoutSeconds")
        limit, token, asked = _number(call, "limit") or 0, call.query.get("continue", ""), _version(call)
        match = call.query.get("resourceVersionMatch", "")
        if match not in MATCHES:
            why = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
            raise _bad_options("resourceVersionMatch", "FieldValueNotSupported", why)
        if match and asked is None:
            why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
            raise _bad_options("resourceVersionMatch", "FieldValueForbidden", why)
        at, begin = (None, "")
        if token:
            if asked:
                raise bad_request("specifying resource version is not allowed when using continue")
            at, begin = _continuation(token)
        elif asked is not None and asked > self._store.version:
            raise too_large_version(asked, self._store.version)
        elif match == "Exact":
            at = asked
        elif asked == 0:
            limit = 0  # it comes out of the watch cache, which knows no pages
        matches = _selected(call)
        try:
            objects, version = self._store.objects(kind, call.namespace, at=at)
        except ApiStatus as error:
            if token:
                raise _continued_too_late(begin) from error
            raise expired("The resourceVersion for the provided list is too old.") from error
        rest = [each for each in objects if _place_of(each) > begin]
        chosen: list[Object] = []
        while rest and (limit <= 0 or len(chosen) < limit):
            each = rest.pop(0)
            if matches(each):
                chosen.append(each)
                begin = _place_of(each)
        metadata: Object = {"resourceVersion": str(version)}
        if rest:  # whether or not any of them matches: the last page may be empty
            metadata["continue"] = _token(version, begin)
            if not call.query.get("labelSelector") and not call.query.get("fieldSelector"):
                metadata["remainingItemCount"] = len(rest)
        # As the real server does: only the list says of what kind its items are.
        items = [{name: part for name, part in each.items() if name not in ("kind", "apiVersion")} for each in chosen]
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": items}

    async def _watched(self, request: web.BaseRequest, call: Call, kind: Kind) -> web.StreamResponse:
        if call.query.get("sendInitialEvents"):
            raise _initial_events("watch")
        since, seconds = _version(call), _number(call, "timeoutSeconds")
        if since and since < self._store.compacted and self._faults.gone == "status":
            raise expired(f"too old resource version: {since} ({self._store.compacted})")
        watch = Watch(
            self._store,
            self._faults,
            kind,
            namespace=call.namespace,
            matches=_selected(call),
            since=since or None,
            timeout=seconds or None,
            bookmarks=_is_true(call, "allowWatchBookmarks"),
        )
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        self.watches.add(watch)
        try:
            await response.prepare(request)
            call.status = 200
            await watch.stream(response)
            await response.write_eof()
        except ConnectionAbortedError:
            if request.transport is not None:
                request.transport.close()  # after what has been written, and without the end that HTTP wants
        finally:
            self.watches.discard(watch)
        return response

    async def _body(self, request: web.BaseRequest, kind: Kind) -> Any:
        if request.method != "DELETE" and request.content_type not in ("application/json", "application/octet-stream"):
            raise unsupported_media_type()
        body = b""
        while piece := await request.content.readany():
            body += piece
            if len(body) > MAX_BODY:
                raise too_large_body(MAX_BODY)
        if not body and request.method == "DELETE":
            return {}
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise kind.unrecognized(str(error)) from error

    async def _sent(
        self,
        request: web.BaseRequest,
        call: Call,
        status: int,
        answer: Object | str,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> web.StreamResponse:
        text = isinstance(answer, str)
        body = answer.encode() if isinstance(answer, str) else orjson.dumps(answer) + b"\n"
        content_type = "text/plain; charset=utf-8" if text else "application/json"
        response = web.StreamResponse(status=status, headers={"Content-Type": content_type, **headers})
        response.content_length = len(body)
        call.status = status
        await response.prepare(request)
        await write(response, body, self._faults)
        await response.write_eof()
        return response


def _place(call: Call, found: re.Match[str]) -> None:
    """What the request is about, in the authorizer's words."""
    call.resource, call.namespace, call.name = found["plural"], found["namespace"] or "", found["name"] or ""
    call.verb = _VERBS.get(call.method, call.method.lower())
    if call.verb == "get" and not call.name:
        call.verb = "watch" if _is_true(call, "watch") else "list"
        call.name = selected_name(call.query.get("fieldSelector", ""))


def _selected(call: Call) -> Matches:
    labels = label_selector(call.query.get("labelSelector", ""))
    fields = field_selector(call.query.get("fieldSelector", ""))
    return lambda made: labels(made) and fields(made)


def _is_true(call: Call, name: str) -> bool:
    """As the real server reads it: whatever is not false is true."""
    return call.query.get(name, "false").lower() not in ("false", "0")


def _number(call: Call, name: str) -> int | None:
    text = call.query.get(name, "")
    if not text:
        return None
    if not text.removeprefix("-").isdigit():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _version(call: Call) -> int | None:
    text = call.query.get("resourceVersion", "")
    if not text:
        return None
    if not text.isdigit():
        raise malformed_version("resourceVersion", text)
    return int(text)


def _initial_events(verb: str) -> ApiStatus:
    why = f"Forbidden: sendInitialEvents is forbidden for {verb}"
    why += " unless the WatchList feature gate is enabled" if verb == "watch" else ""
    return _bad_options("sendInitialEvents", "FieldValueForbidden", why)


def _bad_options(field: str, reason: str, why: str) -> ApiStatus:
    return invalid("ListOptions", "meta.k8s.io", "", [(field, reason, why)])


def _place_of(made: Object) -> str:
    return f"{made['metadata']['namespace']}/{made['metadata']['name']}"


def _token(version: int, last: str) -> str:
    token = orjson.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": last + "\0"})
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def _continuation(token: str) -> tuple[int | None, str]:
    """The version that a list is continued at, None for any, and the place after which it goes on."""
    try:
        read = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        version, start = int(read["rv"]), str(read["start"]).removesuffix("\0")
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise bad_request("invalid continue token: continue key is not valid") from error
    return (version if version > 0 else None), start


def _continued_too_late(begin: str) -> ApiStatus:
    return expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list"
        " without the continue parameter, or use the continue token in this response to retrieve the remainder of the"
        " results. Continuing with the provided token results in an inconsistent list - objects that were created,"
        " modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        continue_from=_token(-1, begin),
    )
