"""The HTTP server: aiohttp's application on our sockets, inside one fused layer, with a stop that loses no request."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable
from contextlib import suppress

from aiohttp import hdrs, web

from eggycore import log
from eggycore.metrics import Registry
from eggycore.resources import Resources
from eggycore.server.acceptor import Acceptor
from eggycore.server.ports import bind_error, bind_port
from eggycore.server.settings import HTTPSettings
from eggycore.server.stopped import Stopped
from eggycore.types import Control, Service
from eggycore.web.binding import bind
from eggycore.web.middleware.fused import Answerer, Fused
from eggycore.web.middleware.sending import send, send_generally
from eggycore.web.middleware.series import SeriesOf
from eggycore.web.needs import Handler
from eggycore.web.routes import ANY_METHOD, Route, Router

__all__ = ["HTTPServer"]

Address = tuple[str, int]


class HTTPServer:
    """Serves recorded routes.

    Args:
        name: Names the service, and the server in its metrics.
        host: Address or name to listen on.
        port: TCP port; 0 for any free one.
        port_setting: The variable that names the port, for messages.
        router: The recorded routes; None for a router of its own, see `handle`.
        resources: Where handlers' parameters are looked up, once, at the start.
        metrics: Where the server counts; None counts nothing.
        settings: Limits and timeouts; None for the defaults.
        access_log: False writes no access line, whatever the settings say.
    """

    def __init__(
        self,
        *,
        name: str = "http",
        host: str,
        port: int,
        port_setting: str = "BUSINESS_HTTP_PORT",
        router: Router | None = None,
        resources: Resources | None = None,
        metrics: Registry | None = None,
        settings: HTTPSettings | None = None,
        access_log: bool = True,
    ) -> None:
        self.name = name
        self.app = web.Application()
        """aiohttp's application: add middlewares, signals, sub-applications or routes to it before the start."""
        self.stopped: Stopped | None = None
        """What became of the requests in flight, once the server has stopped."""
        self._host = host
        self._port = port
        self._port_setting = port_setting
        self._router = router if router is not None else Router()
        self._resources = resources if resources is not None else Resources()
        self._settings = settings if settings is not None else HTTPSettings()
        self._access_log = access_log
        self._series_of = SeriesOf(metrics, name)
        self._draining = asyncio.Event()
        self._stopping = asyncio.Lock()
        self._acceptor: Acceptor | None = None
        self._address: Address | None = None

    def handle(self, method: str, path: str, handler: Handler) -> None:
        """Answer this method of this path; before the start. See `Router.route` for the errors raised."""
        self._router.route(method, path, handler)

    def handle_func(self, path: str, handler: Handler) -> None:
        """Answer every method of this path that has no handler of its own; before the start."""
        self._router.route(ANY_METHOD, path, handler)

    @property
    def address(self) -> Address:
        """Host and port that the server listens on.

        Raises:
            RuntimeError: The server has not been started.
        """
        if self._address is None:
            raise RuntimeError(f"the HTTP server {self.name!r} has not been started")
        return self._address

    @property
    def in_flight(self) -> int:
        """Requests that are being answered now."""
        return self._acceptor.in_flight if self._acceptor is not None else 0

    async def start(self) -> None:
        """Bind the port, bind the handlers to their resources, and serve. A server starts once.

        Raises:
            PortTaken, PortForbidden, HostUnknown, HostNotHere, CannotListen: It cannot listen; it may be tried again.
            ResourceMissing: A handler asks for something that is not open.
        """
        if self._acceptor is not None:
            raise RuntimeError(f"the HTTP server {self.name!r} has been started before")
        sockets = bind_port(self._host, self._port, self._port_setting)
        try:
            self._acceptor = await self._prepare()
            await self._acceptor.listen(sockets)
        except BaseException as error:
            for bound in sockets:
                bound.close()
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:  # others bound it, too, and listen first
                raise bind_error(self._host, self._port, self._port_setting) from error
            raise
        self._address = sockets[0].getsockname()[:2]
        log.info("listening", server=self.name, host=self.address[0], port=self.address[1])

    def configure(self, settings: HTTPSettings) -> None:
        """Go on with other settings, on the connections that stand too."""
        self._settings = settings
        if self._acceptor is not None:
            self._acceptor.configure(
                access_log=self._access_log and settings.access_log,
                max_body_size=settings.max_body_size,
                keepalive_timeout=settings.keepalive_timeout,
            )

    def begin_drain(self) -> None:
        """Close every connection with its next answer, and tell streams (`eggycore.web.draining`). Idempotent."""
        self._draining.set()

    async def stop(self, timeout: float | None = None) -> Stopped:
        """Accept no more, answer what is in flight, close. Idempotent; legal before the start.

        Args:
            timeout: Seconds after which requests are cut: cancelled and, where no answer has begun, answered with
                503. None waits for all of them. It returns at most half a second later. Cancelling it cuts at once.
        """
        async with self._stopping:
            if self.stopped is None and self._acceptor is not None:
                await self._stop(self._acceptor, timeout)
        return self.stopped or Stopped(finished=0, cut=0)

    def as_service(
        self, *, on_bound: Callable[[Address], None] | None = None, stop_timeout: float | None = None
    ) -> Service:
        """The server as a service of the edge stage.

        Args:
            on_bound: Called with the address once the server listens.
            stop_timeout: Seconds after which requests in flight are cut; None waits until the service is cancelled.
        """

        async def run(control: Control) -> None:
            await self.start()
            if on_bound is not None:
                on_bound(self.address)
            control.started()
            drain = asyncio.create_task(self._drain_when_told(control), name=f"{self.name} drain")
            try:
                await control.stopping.wait()
            finally:
                drain.cancel()
                await self.stop(stop_timeout)

        return Service(name=self.name, run=run, stage="edge")

    async def _prepare(self) -> Acceptor:
        _add_routes(self.app.router, self._router.routes, self._resources)
        self.app.on_startup.freeze()
        await self.app.startup()
        self.app.freeze()
        plain = not self.app.on_response_prepare and not self.app._subapps
        access_log = self._access_log and self._settings.access_log
        fused = Fused(self.app._handle, send if plain else send_generally, self._series_of, access_log=access_log)
        return Acceptor(
            fused,
            draining=self._draining,
            max_body_size=self._settings.max_body_size,
            keepalive_timeout=self._settings.keepalive_timeout,
        )

    async def _drain_when_told(self, control: Control) -> None:
        await control.draining.wait()
        self.begin_drain()

    async def _stop(self, acceptor: Acceptor, timeout: float | None) -> None:
        self.begin_drain()
        answered_before = acceptor.requests_count - acceptor.in_flight
        try:
            await acceptor.stop_listening()
            await self.app.shutdown()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await acceptor.let_go()
        finally:
            cut = await acceptor.cut()
            self.stopped = Stopped(finished=acceptor.requests_count - answered_before - cut, cut=cut)
            await self.app.cleanup()


def _add_routes(dispatcher: web.UrlDispatcher, routes: Iterable[Route], resources: Resources) -> None:
    """Add the routes in their order, but on one path "*" last: it takes what no other method there does."""
    bound: dict[str, dict[Route, Answerer]] = {}
    for route in routes:
        bound.setdefault(route.shape, {})[route] = bind(route, resources)
    for same_path in bound.values():
        methods = {route.method for route in same_path}
        for route in sorted(same_path, key=lambda route: route.method == ANY_METHOD):
            dispatcher.add_route(route.method, route.path, same_path[route])
            if route.method == hdrs.METH_GET and hdrs.METH_HEAD not in methods:
                dispatcher.add_route(hdrs.METH_HEAD, route.path, same_path[route])
