"""Accepts connections on our sockets, and lets go of them without losing a request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from time import perf_counter

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from eggycore.web.connection import Connection, Request
from eggycore.web.middleware.fused import Fused

__all__ = ["Acceptor"]

BACKLOG = 1024
"""Connections that the kernel keeps while the event loop is busy; it caps this at net.core.somaxconn."""

FIRST_REQUEST_GRACE = 1.0
"""Seconds that an accepted connection has for its first request before a stopping server closes it."""

QUIET_GRACE = 0.25
"""Seconds that a connection must have been idle before a stopping server closes it. A client that is at work sends its
next request sooner, and learns from the `Connection: close` of the answer to go elsewhere."""

CLEAN_UP = 0.5
"""Seconds that requests have to answer 503 and to clean up once they are cut."""

_LOOK_AGAIN = 0.02


class Acceptor(web.Server):
    """The connections of one server.

    Args:
        fused: Answers the requests.
        draining: Set when the server begins to drain.
        max_body_size: Longest body that is read, in bytes.
        keepalive_timeout: Seconds after which an idle connection is closed.
    """

    def __init__(self, fused: Fused, *, draining: asyncio.Event, max_body_size: int, keepalive_timeout: float) -> None:
        super().__init__(fused.handle, request_factory=self._new_request)  # type: ignore[arg-type]  # our Request
        self._fused = fused
        self._draining = draining
        self._max_body_size = max_body_size
        self._keepalive_timeout = keepalive_timeout
        self._listening: list[tuple[asyncio.Server, socket.socket]] = []

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(
            self,
            draining=self._draining,
            on_malformed=self._fused.malformed,
            loop=self._loop,
            keepalive_timeout=self._keepalive_timeout,
            access_log=None,
        )

    @property
    def in_flight(self) -> int:
        """Requests that are being answered now."""
        return sum(connection.request is not None for connection in self._open())

    def configure(self, *, access_log: bool, max_body_size: int, keepalive_timeout: float) -> None:
        """Go on with another access log, longest body and idle time, on the connections that stand too."""
        self._fused.access_log = access_log
        self._max_body_size = max_body_size
        self._keepalive_timeout = keepalive_timeout
        for connection in self._open():
            connection.set_keepalive_timeout(keepalive_timeout)

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on these bound sockets, which are ours from now on.

        Raises:
            OSError: Somebody who has bound the port as well listens there already.
        """
        for bound in sockets:
            bound.listen(BACKLOG)  # it may fail, and uvloop would not say so
            self._listening.append((await self._loop.create_server(self, sock=bound, backlog=BACKLOG), bound))

    async def stop_listening(self) -> None:
        """Accept no more. Clients that the kernel has let in already are taken over first, not reset."""
        listening, self._listening = self._listening, []
        with ExitStack() as kept:
            ours = [kept.enter_context(bound.dup()) for _, bound in listening]
            await self._finish_accepting([bound for _, bound in listening])
            for server, _ in listening:
                server.close()
            await asyncio.sleep(0)  # uvloop closes its descriptor in the next turn; then ours is the last one
            late = [client for bound in ours for client in _waiting_in(bound)]
        for client in late:
            await self._loop.connect_accepted_socket(self, client)

    async def _finish_accepting(self, sockets: Sequence[socket.socket]) -> None:
        """Let asyncio's own loop hand over what it has accepted: a server that was closed drops that (CPython 3.11)."""
        if isinstance(self._loop, asyncio.SelectorEventLoop):
            for listening in sockets:
                self._loop.remove_reader(listening)
            await asyncio.sleep(0)

    async def let_go(self) -> None:
        """Wait until every connection is closed: busy ones after their answer, idle ones once they are surely quiet."""
        while connections := self._open():
            now = perf_counter()
            for connection in connections:
                if _is_done_with(connection, now):
                    connection.force_close()
            await asyncio.sleep(_LOOK_AGAIN)

    async def cut(self) -> int:
        """Close every connection, whatever it is doing; takes at most CLEAN_UP seconds.

        Returns:
            How many requests were cut.
        """
        requests = [connection.request for connection in self._open() if connection.request is not None]
        unsent = sum(
            connection.request is None and self._connections[connection].get_write_buffer_size() > 0
            for connection in self._open()
        )
        for request in requests:
            request.task.cancel()
        if requests:
            await asyncio.wait({request.task for request in requests}, timeout=CLEAN_UP)
        for connection, transport in list(self._connections.items()):
            connection.force_close()
            transport.abort()
        return len(requests) + unsent

    def _open(self) -> list[Connection]:
        return [connection for connection in self._connections if isinstance(connection, Connection)]

    def _new_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: Connection,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> Request:
        request = Request(message, payload, protocol, writer, task, self._loop, client_max_size=self._max_body_size)
        protocol.request = request  # from here on the connection is busy; there is no moment in which it seems idle
        return request


def _is_done_with(connection: Connection, now: float) -> bool:
    """Whether a stopping server may close this connection: nothing is in flight, and most likely nothing will be."""
    if connection.busy:
        return False
    quiet = now - connection.quiet_since
    return quiet >= (FIRST_REQUEST_GRACE if connection.fresh or not connection.idle else QUIET_GRACE)


def _waiting_in(listening: socket.socket) -> list[socket.socket]:
    """The clients that are connected and not yet accepted."""
    clients: list[socket.socket] = []
    with suppress(OSError):  # BlockingIOError after the last one; or no descriptor is left for it
        for _ in range(BACKLOG):
            clients.append(listening.accept()[0])  # noqa: PERF401 - what was accepted before the error counts
    return clients
