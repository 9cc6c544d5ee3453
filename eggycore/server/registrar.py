"""Stands between the generated code and the gRPC server: learns the names of the services, wraps their methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
import grpc.aio

from eggycore.server.calls import Calls, Handler, wrap

__all__ = ["Registrar"]


class Registrar:
    """What `add_<Service>Servicer_to_server` is given in place of the server.

    Args:
        server: The real server.
        calls: What the calls are counted in.
    """

    def __init__(self, server: grpc.aio.Server, calls: Calls) -> None:
        self._server = server
        self._calls = calls
        self._services: list[str] = []

    @property
    def services(self) -> tuple[str, ...]:
        """Full names of the services, for example "forms.v1.Forms"."""
        return tuple(self._services)

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler[Any, Any]]) -> None:
        """Called by all generated code.

        Raises:
            ServicerRefused: A method is not async.
        """
        self._server.add_generic_rpc_handlers([self._wrapped(handler) for handler in handlers])

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Called in addition by code generated since 1.65; these handlers win over the generic ones.

        Raises:
            ServicerRefused: A method is not async.
        """
        wrapped = {name: wrap(self._calls, f"/{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, wrapped)  # type: ignore[attr-defined]  # unknown to the stubs

    def _wrapped(self, handler: grpc.GenericRpcHandler[Any, Any]) -> grpc.GenericRpcHandler[Any, Any]:
        if isinstance(handler, grpc.ServiceRpcHandler):
            self._services.append(handler.service_name())
        return _Wrapping(handler, self._calls)


class _Wrapping(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """A generic handler whose methods run inside our border; each is wrapped when it is first called."""

    def __init__(self, inner: grpc.GenericRpcHandler[Any, Any], calls: Calls) -> None:
        self._inner = inner
        self._calls = calls
        self._known: dict[str, tuple[Handler, Handler]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The wrapped handler of the method, or None when the method is not one of ours."""
        handler = self._inner.service(handler_call_details)
        if handler is None:
            return None
        name = handler_call_details.method
        known = self._known.get(name)
        if known is None or known[0] is not handler:
            known = self._known[name] = (handler, wrap(self._calls, name, handler))
        return known[1]
