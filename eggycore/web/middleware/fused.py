"""The one layer around every request: id and trace, log context, problem answers, metrics and the access line.

It is one function because each layer of its own costs microseconds of every request; benchmarks/http measures it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeAlias

from aiohttp import web

from eggycore import log
from eggycore.log.context import CONTEXT, accept_request_id, new_request_id
from eggycore.web.connection import Request
from eggycore.web.middleware.identity import REQUEST_ID, TRACEPARENT, trace_id_of
from eggycore.web.middleware.recovery import CLIENT_GONE, INTERNAL_ERROR, answer_to, client_is_gone
from eggycore.web.middleware.sending import Sender
from eggycore.web.middleware.series import SeriesOf

__all__ = ["Answerer", "Fused"]

Answerer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fused:
    """Answers the requests of one server.

    Args:
        answer: Finds the route and awaits its handler.
        send: Writes a response to its connection.
        series_of: Where requests are counted.
        access_log: Whether each request writes a line.
    """

    def __init__(self, answer: Answerer, send: Sender, series_of: SeriesOf, *, access_log: bool) -> None:
        self._answer = answer
        self._send = send
        self._series_of = series_of
        self._known = series_of.known
        self._in_flight = series_of.in_flight
        self.access_log = access_log
        """May change while requests are answered."""

    async def handle(self, request: Request) -> web.StreamResponse:
        """Answer one request and send the answer.

        aiohttp awaits this in a task for each request, so that the log context needs no clearing.
        """
        started = perf_counter()
        connection = request._protocol
        in_flight = self._in_flight
        if in_flight is not None:
            in_flight.inc()
        headers = request._headers
        incoming = headers.get(REQUEST_ID)
        request_id = new_request_id() if incoming is None else accept_request_id(incoming) or new_request_id()
        traceparent = headers.get(TRACEPARENT)
        CONTEXT.set({"request_id": request_id} if traceparent is None else _context(request_id, traceparent))
        status = INTERNAL_ERROR
        try:
            response = await self._answer(request)
            await self._send(request, response, request_id)
            status = response.status
            return response
        except BaseException as error:  # noqa: BLE001 - the supervised border of every handler; what is not ours is raised
            response, status = await self._recover(request, error, request_id)
            return response
        finally:
            connection.request = None
            connection.quiet_since = ended = perf_counter()
            if in_flight is not None:
                in_flight.dec()
            self._finished(request, status, ended - started)

    def malformed(self, request: web.BaseRequest, status: int) -> None:
        """Count a request that could not be parsed, and write its line."""
        self._series_of(None, request.method, status).observe(0.0)
        if self.access_log:
            log.write("info", "request", {"status": status, "malformed": True, "remote": request.remote})

    def _finished(self, request: Request, status: int, seconds: float) -> None:
        method, match = request._method, request._match_info
        route = match.route if match is not None else None
        series = self._known.get((route, method, status)) or self._series_of(route, method, status)
        series.observe(seconds)
        if not self.access_log:
            return
        connection = request._protocol
        path, peer = request.raw_path, connection.peername
        log.write(
            "info",
            "request",
            {
                "method": method,
                "path": path if "?" not in path else path.partition("?")[0],  # a query may hold a token
                "route": series.route,
                "status": status,
                "duration_ms": int(seconds * 1e6) / 1000,
                "bytes": request.writer.output_size,
                "remote": peer[0] if peer else None,
            },
        )

    async def _recover(self, request: Request, error: BaseException, request_id: str) -> tuple[web.StreamResponse, int]:
        """Answer after all, when there is still somebody to answer; the response and the status for the records."""
        if isinstance(error, KeyboardInterrupt | GeneratorExit):
            raise error
        gone = client_is_gone(request)
        if gone and isinstance(error, ConnectionError):
            return web.Response(status=CLIENT_GONE), CLIENT_GONE
        response = answer_to(error, request)
        if gone:
            return response, CLIENT_GONE
        if request.writer.output_size > 0:
            request.protocol.force_close()  # the client sees an answer that breaks off, not one that seems complete
            return response, response.status
        await self._send(request, response, request_id)
        return response, response.status


def _context(request_id: str, traceparent: str) -> dict[str, object]:
    trace_id = trace_id_of(traceparent)
    return {"request_id": request_id} if trace_id is None else {"request_id": request_id, "trace_id": trace_id}
