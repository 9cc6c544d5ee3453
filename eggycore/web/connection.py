"""One client connection and the request on it, as eggycore's HTTP server sees them."""

from __future__ import annotations

import asyncio
import struct
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web
from aiohttp.http import SERVER_SOFTWARE

from eggycore import log
from eggycore.web.middleware.identity import REQUEST_ID
from eggycore.web.responses import Problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.platform != "win32":
    import fcntl
    import termios

__all__ = ["SERVER", "Connection", "Request", "draining"]

SERVER = "eggycore"
"""The header Server of every answer, without versions."""


class Connection(web.RequestHandler):
    """aiohttp's connection, which also knows whether it is busy, since when it is quiet, and whether the server drains.

    Args:
        manager: The server that accepted it.
        draining: Set when the server begins to drain; every answer from then on closes its connection.
        on_malformed: Told about requests that could not be parsed, with the status of the answer.
        arguments: As aiohttp's.
    """

    __slots__ = ("draining", "on_malformed", "quiet_since", "request")

    def __init__(
        self,
        manager: web.Server,
        *,
        draining: asyncio.Event,
        on_malformed: Callable[[web.BaseRequest, int], None],
        **arguments: Any,
    ) -> None:
        super().__init__(manager, **arguments)
        self.draining = draining
        self.on_malformed = on_malformed
        self.quiet_since = perf_counter()
        """When it was accepted or its last answer was sent, on the clock of `time.perf_counter`."""
        self.request: web.Request | None = None
        """The request that is being answered, if one is."""

    @property
    def fresh(self) -> bool:
        """Whether no request has come yet."""
        return self._request_count == 0

    @property
    def busy(self) -> bool:
        """Whether a request is being answered, is read and waits for its turn, or lies in the kernel."""
        waiter = self._waiter
        return self.request is not None or (waiter is not None and (waiter.done() or _unread(self.transport) > 0))

    @property
    def idle(self) -> bool:
        """Whether it waits for a request; when it is neither busy nor idle, the rest of a refused body still comes."""
        return self._waiter is not None

    def set_keepalive_timeout(self, seconds: float) -> None:
        """Stay open for so long, from now and after each answer, when no request follows."""
        self._keepalive_timeout = seconds
        if self._keepalive_handle is not None:  # it waits for the end of the time that was
            self._keepalive_handle.cancel()
            self._next_keepalive_close_time = self._loop.time() + seconds
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP; what a handler raises comes here only if its answer could not be sent either."""
        if request.writer.output_size > 0:
            raise ConnectionAbortedError("the answer has already begun")
        if status == 400:
            detail = "The request is not valid HTTP, or one of its lines is too long."
        else:
            detail = ""
            log.error("answer not sent", exc=exc)
        self.on_malformed(request, status)
        self.request = None
        response = problem_of(Problem(status, detail=detail))
        response.force_close()
        return response


class Request(web.Request):
    """aiohttp's request; its answer closes the connection when the server drains."""

    _protocol: Connection

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after the answer."""
        return not (self._message.should_close or self._protocol.draining.is_set())

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Give streams, whose headers leave before their handler returns, the request id as well.

        aiohttp has put its version and Python's into the header Server by now; they are nobody's business.
        """
        if response.headers.get(hdrs.SERVER) == SERVER_SOFTWARE:
            response.headers[hdrs.SERVER] = SERVER
        if (request_id := log.request_id()) is not None:
            response.headers.setdefault(REQUEST_ID, request_id)
        await super()._prepare_hook(response)


def draining(request: web.BaseRequest) -> asyncio.Event:
    """The event that is set when the server begins to drain.

    A stream, long poll or websocket watches it, says goodbye and returns; one that does not is cut at the end of the
    shutdown budget.

    Raises:
        TypeError: The request does not come from eggycore's HTTPServer.

    Example:
        >>> async def ticks(request: web.Request) -> web.StreamResponse:
        ...     response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        ...     await response.prepare(request)
        ...     while not draining(request).is_set():
        ...         await response.write(b"data: tick\\n\\n")
        ...         await asyncio.sleep(1)
        ...     return response
    """
    connection = request.protocol
    if not isinstance(connection, Connection):
        raise TypeError("draining() takes a request that eggycore's HTTPServer is serving")
    return connection.draining


def _unread(transport: asyncio.Transport | None) -> int:
    """Bytes that the kernel has received on this connection and nobody has read yet."""
    socket = transport.get_extra_info("socket") if transport is not None else None
    if sys.platform == "win32" or socket is None or socket.fileno() < 0:
        return 0
    count: int = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.FIONREAD, b"\0\0\0\0"))[0]
    return count
