"""The gRPC server: grpc.aio with health, reflection and a stop that loses no call. Imports grpc when it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from eggycore import log
from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError
from eggycore.health import Health
from eggycore.metrics import Registry
from eggycore.resources import Resources
from eggycore.server.draining import draining
from eggycore.server.ports import bind_error, bind_port
from eggycore.server.servicers import ServicerRecorder
from eggycore.server.settings import GRPCSettings
from eggycore.server.stopped import Stopped
from eggycore.types import Control, Service

if TYPE_CHECKING:
    import grpc.aio

    from eggycore.server.calls import Calls
    from eggycore.server.grpc_health import HealthServicer

__all__ = ["GRPCMissing", "GRPCServer", "draining"]

S = TypeVar("S")
Argument = tuple[str, int | str]

AGE_SHARE = 0.8
"""A connection lives for this share of the drain delay. gRPC varies it by 10 % either way, so that every connection
that was open when the drain began has been told to go away well before it ends."""
AGE_SPREAD = 1.1
HEARING = 0.1
"""Seconds that a client is given to hear that its connection goes away."""
CLEANING_UP = 0.25
"""Seconds, at most, that calls which were cut get to clean up, and that ours get to end by themselves."""
LONG = 86_400.0
"""Seconds; how long gRPC itself is left to wait for calls: when they are cut is decided here."""
EXTRA = frozenset({"google", "grpc", "grpc_health", "grpc_reflection"})
"""Packages that the extra `eggycore[grpc]` installs."""


@dataclass(eq=False)
class GRPCMissing(UsageError):
    """A servicer was registered, and grpcio or one of its companions is not installed.

    Args:
        module: What could not be imported.
    """

    module: str


@diagnose.register
def _(error: GRPCMissing) -> Diagnosis:
    return Diagnosis(
        description="The gRPC server cannot start: gRPC is not installed.",
        cause=f"A gRPC servicer was registered, and there is no module {error.module!r}.",
        action="Run `pip install 'eggycore[grpc]'`, or set ENABLE_BUSINESS_GRPC=false.",
    )


class GRPCServer:
    """Serves the recorded servicers, `grpc.health.v1.Health` and reflection.

    With a drain delay every connection is replaced after 0.8 times that delay, all the time: it is told to go away
    (HTTP/2 GOAWAY), the calls on it are finished on it, the next call opens another. gRPC knows no other way to send
    clients elsewhere without losing calls.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        port_setting: The variable that the port comes from, for messages.
        recorder: The servicers; None starts with an empty one (see `add`).
        resources: Where what servicers need is looked up when the server starts.
        metrics: Where `grpc_server_handling_seconds` is declared; None measures nothing.
        settings: Reflection, message size, keepalive.
        health: What grpc.health.v1 mirrors; None is SERVING until the drain.
        drain_delay: Seconds between `begin_drain` and `stop`.
        access_log: Whether each call writes one line.
        options: More arguments of the gRPC server, for example `("grpc.max_concurrent_streams", 100)`; they win.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        port_setting: str = "BUSINESS_GRPC_PORT",
        recorder: ServicerRecorder | None = None,
        resources: Resources | None = None,
        metrics: Registry | None = None,
        settings: GRPCSettings | None = None,
        health: Health | None = None,
        drain_delay: float = 0.0,
        access_log: bool = True,
        options: Sequence[Argument] = (),
    ) -> None:
        self._host = host
        self._port = port
        self._port_setting = port_setting
        self._recorder = recorder if recorder is not None else ServicerRecorder()
        self._resources = resources if resources is not None else Resources()
        self._metrics = metrics
        self._settings = settings if settings is not None else GRPCSettings()
        self._health = health
        self._age = drain_delay * AGE_SHARE
        self._access_log = access_log
        self._options = dict(options)
        self._running: _Running | None = None
        self.stopped: Stopped | None = None
        """What became of the calls in flight, once the server has stopped."""

    def add(self, add_to_server: Callable[[S, Any], None], servicer: S | type[S]) -> None:
        """Record a servicer; see `ServicerRecorder.add`."""
        self._recorder.add(add_to_server, servicer)

    @property
    def server(self) -> grpc.aio.Server:
        """The grpc.aio server, while it runs."""
        return self._now_running().server

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on, while it runs."""
        return self._host, self._now_running().port

    @property
    def in_flight(self) -> int:
        """How many calls are being answered, health and reflection not counted."""
        return self._running.calls.in_flight if self._running else 0

    async def start(self) -> None:
        """Listen and serve. To be called on the event loop that shall serve; a process uses gRPC on one loop only.

        Raises:
            GRPCMissing: grpcio or one of its companions is not installed.
            PortTaken: Somebody else listens on the port.
            ResourceMissing: A servicer needs a resource that is not open.
            ServicerRefused: A method of a servicer is not async.
        """
        _import_grpc()
        import grpc.aio

        from eggycore.server.calls import Calls

        calls = Calls(metrics=self._metrics, access_log=self._access_log)
        our_calls = Calls(access_log=False)
        server = grpc.aio.server(options=self._arguments())
        health = self._add_our_services(server, our_calls, self._add_services(server, calls))
        port = self._bind(server)
        await server.start()
        log.info("listening", server="grpc", host=self._host, port=port)
        self.stopped = None
        self._running = _Running(
            server=server,
            calls=calls,
            our_calls=our_calls,
            health=health,
            port=port,
            unsubscribe=self._health.subscribe(lambda _: health.tell()) if self._health else _nothing,
        )

    def begin_drain(self) -> None:
        """Serve on, but be NOT_SERVING, end every health Watch, and set what handlers get from `draining()`."""
        if self._running is not None:
            self._running.begin_drain()

    async def stop(self, timeout: float | None = None) -> Stopped:
        """Take no more calls, finish those in flight, close. Idempotent; legal before the start.

        Clients that connected during the drain are served until their connection, too, was told to go away, for at
        most half of the timeout. Cancelling it cuts the calls that are still in flight.

        Args:
            timeout: Seconds after which the calls in flight are cut; None waits for them.

        Returns:
            How many calls were finished meanwhile, and how many were cut.
        """
        running, self._running = self._running, None
        if running is not None:
            try:
                await running.finish(timeout, connection_life=self._age * AGE_SPREAD)
            finally:
                self.stopped = await running.close()
        return self.stopped or Stopped(finished=0, cut=0)

    def as_service(self, *, on_bound: Callable[[tuple[str, int]], None] | None = None) -> Service:
        """The server as a service of the edge stage.

        Args:
            on_bound: Called with the address once the server listens.
        """

        async def run(control: Control) -> None:
            await self.start()
            try:
                if on_bound is not None:
                    on_bound(self.address)
                control.started()
                await control.draining.wait()
                self.begin_drain()
                await control.stopping.wait()
            finally:
                await self.stop()

        return Service(name="grpc", run=run, stage="edge")

    def _add_services(self, server: grpc.aio.Server, calls: Calls) -> tuple[str, ...]:
        from eggycore.server.registrar import Registrar

        registrar = Registrar(server, calls)
        for servicer in self._recorder.servicers:
            servicer.add(servicer.build(self._resources), registrar)
        return registrar.services

    def _add_our_services(self, server: grpc.aio.Server, calls: Calls, services: tuple[str, ...]) -> HealthServicer:
        """Health and reflection, about the services of the app and about themselves."""
        from grpc_health.v1 import health_pb2_grpc
        from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

        from eggycore.server.grpc_health import HealthServicer
        from eggycore.server.registrar import Registrar

        registrar = Registrar(server, calls)
        health = HealthServicer(services, self._is_serving)
        health_pb2_grpc.add_HealthServicer_to_server(health, registrar)
        if self._settings.reflection:
            names = (*services, *registrar.services, reflection.SERVICE_NAME)
            servicer = reflection.aio.ReflectionServicer(names)  # type: ignore[attr-defined]  # public all the same
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, registrar)
        return health

    def _is_serving(self) -> bool:
        return self._health is None or self._health.probe("ready").http_status == HTTPStatus.OK

    def _bind(self, server: grpc.aio.Server) -> int:
        host, port, setting = self._host or "0.0.0.0", self._port, self._port_setting  # noqa: S104 - what "" means
        for probe in bind_port(host, port, setting):  # tells why it cannot be done; grpc writes that to stderr only
            probe.close()
        try:
            return server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise bind_error(host, port, setting) from error

    def _now_running(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the gRPC server does not run: it has not been started, or it has been stopped")
        return self._running

    def _arguments(self) -> list[Argument]:
        """What the gRPC core is told."""
        settings = self._settings
        arguments: dict[str, int | str] = {
            "grpc.so_reuseport": 0,  # on by default, it lets a second server share the port without a word
            "grpc.max_receive_message_length": settings.max_message_size,
            "grpc.max_send_message_length": settings.max_message_size,
            "grpc.keepalive_time_ms": _milliseconds(settings.keepalive_time),
            "grpc.keepalive_timeout_ms": _milliseconds(settings.keepalive_timeout),
        }
        if self._age:
            arguments["grpc.max_connection_age_ms"] = _milliseconds(self._age)
        return [*(arguments | self._options).items()]


@dataclass(kw_only=True, eq=False)
class _Running:
    """A server between its start and its stop.

    Args:
        server: The server of grpc.
        calls: The calls of the app's services.
        our_calls: Those of health and reflection; nobody waits for them.
        health: What is told to end when the drain begins.
        port: What it listens on.
        unsubscribe: Ends what the health of the process tells us.
    """

    server: grpc.aio.Server
    calls: Calls
    our_calls: Calls
    health: HealthServicer
    port: int
    unsubscribe: Callable[[], None]
    _closing: asyncio.Task[None] | None = None
    _ended_before: int = 0

    def begin_drain(self) -> None:
        self.calls.draining.set()
        self.health.begin_drain()

    async def finish(self, timeout: float | None, *, connection_life: float) -> None:
        """Take no more calls, and wait for those in flight until the time is over.

        Args:
            timeout: Seconds, or None for as long as it takes.
            connection_life: How old a connection becomes at most, in seconds; 0 for any age.
        """
        self._ended_before = self.calls.ended
        self.begin_drain()
        self.unsubscribe()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                if connection_life:
                    longest = connection_life + HEARING
                    await self._outlast_late_connections(longest, longest if timeout is None else timeout / 2)
                self._closing = asyncio.create_task(self.server.stop(LONG))
                await self._quiet()

    async def close(self) -> Stopped:
        """Cut what is in flight, and close."""
        finished, cut = self.calls.ended - self._ended_before, self.calls.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLEANING_UP):
                await self._quiet()
        if self._closing is not None:
            self._closing.cancel()
        await self.server.stop(None)
        await _end_of_grpc_tasks()
        return Stopped(finished=finished, cut=cut)

    async def _quiet(self) -> None:
        """Wait until no code of a servicer runs, and until gRPC has sent every answer."""
        await self.calls.idle()  # gRPC itself does not wait for code that follows an abort
        if self._closing is not None:
            await asyncio.wait({self._closing}, timeout=CLEANING_UP)  # every health Watch says goodbye meanwhile
            self.our_calls.cut()
            await asyncio.wait({self._closing})
        await self.calls.idle()  # what had been accepted without having begun

    async def _outlast_late_connections(self, life: float, most: float) -> None:
        """Serve on until the connections that were made during the drain have been told to go away as well.

        A balancer that learned late has sent clients here when most of the drain was over; stopping now would lose
        their calls. Those that come later than now are not waited for: somebody still sends them.

        Args:
            life: Seconds after which a connection has been told to go away.
            most: Seconds after which it is no longer waited.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + min(life, most)
        while (left := min(self.calls.newest_peer + life, until) - clock()) > 0:  # noqa: ASYNC110 - newcomers move it
            await asyncio.sleep(left)


def require_grpc() -> None:
    """Find gRPC without importing it.

    Raises:
        GRPCMissing: It is not installed.
    """
    for module in ("grpc", "grpc_health", "grpc_reflection"):
        if find_spec(module) is None:
            raise GRPCMissing(module)


def _import_grpc() -> None:
    try:
        for module in ("grpc.aio", "grpc_health.v1.health_pb2_grpc", "grpc_reflection.v1alpha.reflection"):
            import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise GRPCMissing(error.name or module) from error


async def _end_of_grpc_tasks() -> None:
    """Give gRPC's own tasks, which its stop does not wait for, a moment to see that their answers are sent."""
    if tasks := {task for task in asyncio.all_tasks() if task.get_name() == "rpc_task"}:
        await asyncio.wait(tasks, timeout=CLEANING_UP)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _nothing() -> None:
    """Unsubscribes from no health."""
