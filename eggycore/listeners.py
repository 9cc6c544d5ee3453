"""What a runtime listens on: business HTTP, gRPC, and the management ports for probes and metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eggycore.config import Config, Configuration
from eggycore.health import Health
from eggycore.metrics import Registry
from eggycore.resources import Resources
from eggycore.server.servicers import ServicerRecorder
from eggycore.server.settings import GRPCSettings, HTTPSettings
from eggycore.types import Service
from eggycore.web.routes import Router

if TYPE_CHECKING:
    from eggycore.server.grpc import GRPCServer
    from eggycore.server.http import HTTPServer

__all__ = ["Address", "Listeners"]

Address = tuple[str, int]


@dataclass
class _Management:
    """One management port: whose settings name it, and what is served there."""

    port: int
    settings: list[str] = field(default_factory=list)
    router: Router = field(default_factory=Router)


class Listeners:
    """Builds the servers of one runtime from what was recorded, as services of their stage.

    Args:
        resources: Where handlers get what they need.
        metrics: Where the servers count.
        health: What the gRPC health service mirrors.
    """

    def __init__(self, *, resources: Resources, metrics: Registry, health: Health) -> None:
        self.http = Router()
        self.grpc = ServicerRecorder()
        self.addresses: dict[str, Address] = {}
        """Where servers listen now: "http", "grpc", and for management ports the setting's name."""
        self._resources = resources
        self._metrics = metrics
        self._health = health
        self._management: dict[int | str, _Management] = {}
        self._servers: list[HTTPServer | GRPCServer] = []
        self._business: HTTPServer | None = None

    def management(self, port: int, setting: str) -> Router:
        """The router of a management port; settings that name the same port share one.

        Args:
            port: TCP port; 0 takes any free one, never shared.
            setting: The variable that names the port, for messages and `addresses`.
        """
        shared = self._management.setdefault(port or setting, _Management(port))
        if setting not in shared.settings:
            shared.settings.append(setting)
        return shared.router

    def close(self) -> None:
        """Record nothing more."""
        self.http.close()
        self.grpc.close()
        for shared in self._management.values():
            shared.router.close()

    def services(self, config: Configuration) -> Iterator[Service]:
        """The servers that are wanted: recorded, and not switched off."""
        core = config[Config]
        for shared in self._management.values():
            yield self._management_service(core.bind_host, shared)
        if core.enable_business_http and self.http.routes:
            yield self._http_service(config)
        if core.enable_business_grpc and self.grpc.servicers:
            yield self._grpc_service(config)

    def configure(self, config: Configuration) -> None:
        """Have the server of business HTTP follow another configuration."""
        if self._business is not None:
            self._business.configure(config[HTTPSettings])

    def tally(self) -> tuple[int, int]:
        """How many requests and calls in flight were finished when the servers stopped, and how many were cut."""
        ended = [server.stopped for server in self._servers if server.stopped is not None]
        return sum(stopped.finished for stopped in ended), sum(stopped.cut for stopped in ended)

    def _management_service(self, host: str, shared: _Management) -> Service:
        from eggycore.server.http import HTTPServer

        server = HTTPServer(
            name="management " + ", ".join(shared.settings),
            host=host,
            port=shared.port,
            port_setting=" and ".join(shared.settings),
            router=shared.router,
            resources=self._resources,
            access_log=False,
        )
        return dataclasses.replace(server.as_service(on_bound=self._bound(*shared.settings)), stage="probe")

    def _http_service(self, config: Configuration) -> Service:
        from eggycore.server.http import HTTPServer

        core = config[Config]
        self._business = server = HTTPServer(
            host=core.bind_host,
            port=core.business_http_port,
            router=self.http,
            resources=self._resources,
            metrics=self._metrics,
            settings=config[HTTPSettings],
        )
        self._servers.append(server)
        return server.as_service(on_bound=self._bound("http"))

    def _grpc_service(self, config: Configuration) -> Service:
        from eggycore.server.grpc import GRPCServer, require_grpc

        require_grpc()
        core = config[Config]
        server = GRPCServer(
            host=core.bind_host,
            port=core.business_grpc_port,
            recorder=self.grpc,
            resources=self._resources,
            metrics=self._metrics,
            settings=config[GRPCSettings],
            health=self._health,
            drain_delay=core.shutdown_drain_delay,
        )
        self._servers.append(server)
        return server.as_service(on_bound=self._bound("grpc"))

    def _bound(self, *names: str) -> Callable[[Address], None]:
        def remember(address: Address) -> None:
            for name in names:
                self.addresses[name] = address

        return remember
