"""grpc.health.v1: the state of the process as gRPC clients and balancers ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

__all__ = ["HealthServicer"]


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it comes without types
    """Answers Check, List and Watch with one state for the whole server ("") and each of its services.

    To be used from the event loop of its server only.

    Args:
        services: Full names of the services that are served; any other is unknown.
        is_serving: Tells the state, whenever it is asked for.
    """

    def __init__(self, services: Collection[str], is_serving: Callable[[], bool]) -> None:
        self._services = frozenset({"", *services})
        self._is_serving = is_serving
        self._draining = False
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Let every Watch say the state anew, if it has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def begin_drain(self) -> None:
        """Be NOT_SERVING from now on, and end every Watch after having said so."""
        self._draining = True
        self.tell()

    async def Check(
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> HealthCheckResponse:
        """The state now; NOT_FOUND for a service that is not served here."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return self._state(request.service)

    async def List(self, request: HealthListRequest, context: grpc.aio.ServicerContext[Any, Any]) -> HealthListResponse:
        """The state of every service."""
        return HealthListResponse(statuses={service: self._state(service) for service in self._services})

    async def Watch(
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[HealthCheckResponse]:
        """The state now, and again whenever it has changed, until the server drains."""
        said = None
        while True:
            changed = self._changed  # taken before the state is read: a change in between is not missed
            state = self._state(request.service)
            if state != said:
                yield state
                said = state
            elif self._draining:
                return
            else:
                await changed.wait()

    def _state(self, service: str) -> HealthCheckResponse:
        if service not in self._services:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        up = not self._draining and self._is_serving()
        return HealthCheckResponse(status=HealthCheckResponse.SERVING if up else HealthCheckResponse.NOT_SERVING)
