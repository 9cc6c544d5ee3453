"""The servers: HTTP by aiohttp, gRPC by grpc.aio, and the health probes. Importing this package loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore.server.grpc import GRPCServer
    from eggycore.server.health import HealthService
    from eggycore.server.http import HTTPServer
    from eggycore.server.manager import ServerManager
    from eggycore.server.ports import PortTaken
    from eggycore.server.settings import GRPCSettings, HTTPSettings

_HOME = {
    "GRPCServer": "eggycore.server.grpc",
    "GRPCSettings": "eggycore.server.settings",
    "HTTPServer": "eggycore.server.http",
    "HTTPSettings": "eggycore.server.settings",
    "HealthService": "eggycore.server.health",
    "PortTaken": "eggycore.server.ports",
    "ServerManager": "eggycore.server.manager",
}

__all__ = [
    "GRPCServer",
    "GRPCSettings",
    "HTTPServer",
    "HTTPSettings",
    "HealthService",
    "PortTaken",
    "ServerManager",
]


def __getattr__(name: str) -> object:
    if (home := _HOME.get(name)) is None:
        raise AttributeError(f"module 'eggycore.server' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
