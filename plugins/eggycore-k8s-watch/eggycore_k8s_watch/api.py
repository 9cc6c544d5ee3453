"""The client of the API server: get, list, watch, create and replace objects, with bounds on everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, cast, get_args

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from eggycore import log
from eggycore.metrics import Registry
from eggycore_k8s_watch import __version__
from eggycore_k8s_watch.answers import Asked, as_object, body_of, refusal, refusal_of
from eggycore_k8s_watch.errors import ApiUnreachable, BadAnswer, Unauthorized
from eggycore_k8s_watch.lines import LineSplitter, LineTooLong
from eggycore_k8s_watch.objects import Collection, Object, metadata, version_of
from eggycore_k8s_watch.unreachable import unreachable

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from eggycore_k8s_watch.access import Access

__all__ = ["ApiClient", "EventType", "ListPage", "Timeouts", "WatchEvent"]

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

PAGE = 50
"""Objects of one page of a list: of 1 MiB each they stay below the bound of a body."""

WATCH_GRACE = 30.0
"""Seconds after the end that a watch was asked to have in which the server may still end it."""

_EVENT_TYPES = frozenset(get_args(EventType))


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long the client waits, in seconds.

    Args:
        connect: For a connection, its TLS handshake included.
        request: For a whole request; of a watch, for the beginning of the answer.
        idle: Between two bytes of a watch. Bookmarks, about one a minute, are its heartbeat.
    """

    connect: float = 5.0
    request: float = 10.0
    idle: float = 80.0


@dataclass(frozen=True, kw_only=True)
class ListPage:
    """One page of a list.

    Args:
        items: The objects.
        resource_version: The version of the collection at which all pages were read.
        more: What asks for the next page; "" when this is the last one.
    """

    items: tuple[Object, ...] = field(repr=False)
    resource_version: str
    more: str = ""


@dataclass(frozen=True)
class WatchEvent:
    """One event of a watch; the object of a BOOKMARK has nothing but a resourceVersion."""

    type: EventType
    object: Object = field(repr=False)


class ApiClient:
    """Talks to one API server. Used on one event loop, as an async context manager.

    Every method raises an `ApiError` for whatever goes wrong on the way: `ApiUnreachable` when there was no answer,
    `BadAnswer` for one that is none, and an `ApiRefused` for each error status (`Forbidden`, `NotFound`, `Conflict`,
    `Gone`, `TooManyRequests`, `ApiFailed`, ...). A request whose token was refused is sent once more when the token
    file holds another one by then. A write that ends in `ApiUnreachable` may have been carried out.

    Args:
        access: Where it is, and with which credentials.
        namespace: Where to work; the access's when None.
        metrics: Where requests are counted, if anywhere.
        timeouts: How long it waits.
    """

    def __init__(
        self,
        access: Access,
        *,
        namespace: str | None = None,
        metrics: Registry | None = None,
        timeouts: Timeouts = Timeouts(),
    ) -> None:
        self.access = access
        self.namespace = namespace or access.namespace
        self._timeouts = timeouts
        self._session: ClientSession | None = None
        self._requests = (metrics or Registry()).counter(
            "k8s_watch_requests_total",
            "Requests to the Kubernetes API server, by HTTP status or what kept it from answering.",
            ("verb", "status"),
        )

    async def __aenter__(self) -> Self:
        self.access.bearer()  # what cannot be read is said now, and not with every request
        self.access.tls()
        for warning in self.access.warnings:
            log.warn(warning, server=self.access.server)
        self._session = ClientSession(
            connector=TCPConnector(limit=8),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"eggycore-k8s-watch/{__version__}",
            },
            timeout=ClientTimeout(total=None, sock_connect=self._timeouts.connect),
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # --- what it does

    async def get(self, collection: Collection, name: str, *, timeout: float | None = None) -> Object:
        """One object.

        Args:
            collection: Of what.
            name: Which.
            timeout: Seconds for all of it; `Timeouts.request` when None.

        Raises:
            NotFound: There is none of that name.
            ApiError: It could not be had.
        """
        return await self._asked("GET", self._asking("get", collection, name), timeout=timeout)

    async def list(
        self,
        collection: Collection,
        *,
        name: str = "",
        labels: str = "",
        limit: int = PAGE,
        more: str = "",
        timeout: float | None = None,
    ) -> ListPage:
        """One page of the objects, as they are now: a consistent read, never an old state of some cache.

        Args:
            collection: Of what.
            name: Only the one of this name, as a list of at most one.
            labels: Only those that this label selector selects.
            limit: Objects that one page may have.
            more: `ListPage.more` of the page before.
            timeout: Seconds for all of it; `Timeouts.request` when None.

        Raises:
            Gone: The page before is too old by now; begin again with the first.
            ApiError: It could not be had.
        """
        asked = self._asking("list", collection, name)
        query = {**_selectors(name, labels), "limit": str(limit), **({"continue": more} if more else {})}
        answer = await self._asked("GET", asked, collection_only=True, query=query, timeout=timeout)
        items = answer.get("items")
        if items is not None and not (isinstance(items, list) and all(isinstance(one, dict) for one in items)):
            raise BadAnswer(asked.server, "is no list of objects")
        following = metadata(answer).get("continue")
        return ListPage(
            items=tuple(items or ()),
            resource_version=version_of(answer),
            more=following if isinstance(following, str) else "",
        )

    async def create(
        self, collection: Collection, new: Mapping[str, object], *, timeout: float | None = None
    ) -> Object:
        """Make an object, whose name is in its metadata.

        Returns:
            The object as the server keeps it, with its resourceVersion.

        Raises:
            Conflict: There is one of that name.
            ApiError: It was not made; after `ApiUnreachable` it may have been.
        """
        name = str(metadata(new).get("name", ""))
        asked = self._asking("create", collection, name)
        return await self._asked("POST", asked, collection_only=True, body=new, timeout=timeout)

    async def replace(
        self, collection: Collection, new: Mapping[str, object], *, timeout: float | None = None
    ) -> Object:
        """Put an object in the place of the one of its name, if that still has the resourceVersion in its metadata.

        Returns:
            The object as the server keeps it, with its new resourceVersion.

        Raises:
            Conflict: The object has changed since.
            NotFound: There is none of that name.
            ApiError: It was not replaced; after `ApiUnreachable` it may have been.
        """
        asked = self._asking("update", collection, str(metadata(new).get("name", "")))
        return await self._asked("PUT", asked, body=new, timeout=timeout)

    async def watch(
        self,
        collection: Collection,
        *,
        resource_version: str,
        name: str = "",
        labels: str = "",
        timeout_seconds: int = 240,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """The changes after a resourceVersion, until the server ends the stream. Close it when you leave early.

        Args:
            collection: Of what.
            resource_version: Of a list, an event or a bookmark.
            name: Only the object of this name.
            labels: Only those that this label selector selects.
            timeout_seconds: When the server is to end it.
            opened: Called once the server has agreed to it, before the first event.

        Raises:
            Gone: The history since is no longer kept: list again.
            ApiError: The stream ended otherwise than it should: by an ERROR event, a lost connection, silence.
        """
        asked = self._asking("watch", collection, name)
        query = _selectors(name, labels) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        until = asyncio.get_running_loop().time() + timeout_seconds + WATCH_GRACE
        async with self._answer("GET", collection.path(self.namespace), asked, query=query) as response:
            opened()
            lines = LineSplitter()
            while chunk := await self._next_chunk(response, asked, until):
                try:
                    complete = lines.feed(chunk)
                except LineTooLong:
                    raise BadAnswer(asked.server, "has a line of more than 8 MiB") from None
                for line in complete:
                    yield _event(as_object(line, asked), asked)
            if lines.pending:
                raise ApiUnreachable(asked.server, "ended the watch in the middle of an event")

    # --- how it does it

    def _asking(self, verb: str, collection: Collection, name: str) -> Asked:
        return Asked(
            server=self.access.server,
            verb=verb,
            collection=collection,
            namespace=self.namespace,
            name=name,
            credentials=self.access.credentials,
        )

    async def _asked(
        self,
        method: str,
        asked: Asked,
        *,
        collection_only: bool = False,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        timeout: float | None = None,
    ) -> Object:
        """The object that a request is answered with."""
        path = asked.collection.path(self.namespace, "" if collection_only else asked.name)
        seconds = self._timeouts.request if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds), self._answer(method, path, asked, query, body) as response:
                return as_object(await body_of(response, asked), asked)
        except TimeoutError:
            raise ApiUnreachable(asked.server, f"did not answer within {seconds:g} s") from None

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        asked: Asked,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> AsyncIterator[ClientResponse]:
        """A successful answer whose body is to be read; everything that goes wrong meanwhile is an `ApiError`."""
        sent = self.access.bearer()
        try:
            response = await self._sent(method, path, asked, sent, query, body)
        except Unauthorized:
            token = self.access.bearer(again=True)
            if token == sent:
                raise
            response = await self._sent(method, path, asked, token, query, body)
        try:
            async with response:
                yield response
        except (ClientError, OSError) as error:
            raise unreachable(asked.server, error, connecting=self._timeouts.connect) from error

    async def _sent(
        self,
        method: str,
        path: str,
        asked: Asked,
        token: str | None,
        query: Mapping[str, str] | None,
        body: Mapping[str, object] | None,
    ) -> ClientResponse:
        """The answer with its headers, once they say that it is a success."""
        if self._session is None:
            raise RuntimeError("the client is used outside its `async with`")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        status = "unreachable"
        try:
            async with asyncio.timeout(self._timeouts.request):
                response = await self._session.request(
                    method,
                    self.access.server + path,
                    params=query,
                    data=orjson.dumps(body) if body is not None else None,
                    headers=headers,
                    ssl=self.access.tls() or True,
                    server_hostname=self.access.server_name,
                    allow_redirects=False,  # a token must not follow one
                )
                status = str(response.status)
                if response.status in (200, 201):
                    return response
                async with response:
                    raise refusal_of(response, await body_of(response, asked, 1_048_576), asked)
        except ClientError as error:  # some of which are a TimeoutError, too: that of the connection
            self.access.tls(again=True)  # files that were replaced may be the reason
            raise unreachable(asked.server, error, connecting=self._timeouts.connect) from error
        except TimeoutError:
            reason = f"did not answer within {self._timeouts.request:g} s"
            raise ApiUnreachable(asked.server, reason) from None
        except OSError as error:
            raise unreachable(asked.server, error, connecting=self._timeouts.connect) from error
        finally:
            self._requests.labels(asked.verb, status).inc()

    async def _next_chunk(self, response: ClientResponse, asked: Asked, until: float) -> bytes:
        """The next bytes of a watch, b"" at its end."""
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now + self._timeouts.idle, until)):
                return await response.content.readany()
        except TimeoutError:
            reason = (
                f"sent nothing for {self._timeouts.idle:g} s"
                if now + self._timeouts.idle <= until
                else ("did not end the watch when it was to")
            )
            raise ApiUnreachable(asked.server, reason) from None


def _selectors(name: str, labels: str) -> dict[str, str]:
    return {
        **({"fieldSelector": f"metadata.name={name}"} if name else {}),
        **({"labelSelector": labels} if labels else {}),
    }


def _event(event: Object, asked: Asked) -> WatchEvent:
    kind, one = event.get("type"), event.get("object")
    if not isinstance(one, dict):
        raise BadAnswer(asked.server, "has an event without an object")
    if kind == "ERROR":
        raise refusal(one, asked)
    if kind not in _EVENT_TYPES:
        raise BadAnswer(asked.server, "has an event of an unknown type")
    return WatchEvent(cast(EventType, kind), one)
