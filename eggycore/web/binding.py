"""Binds a route's handler to its resources and middlewares, once, when the server starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from aiohttp import web

from eggycore.resources import ResourceMissing, Resources
from eggycore.web.responses import to_response
from eggycore.web.routes import Middleware, Route

__all__ = ["Bound", "bind"]

Bound: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def bind(route: Route, resources: Resources) -> Bound:
    """The route as one async function from request to response, middlewares included.

    Resources are looked up now, not at every request.

    Raises:
        ResourceMissing: Something that the handler asks for is not open; a note names route and parameter.
    """
    bound = _bind_handler(route.handler, _values(route, resources))
    for middleware in reversed(route.middlewares):
        bound = _wrap(middleware, bound)
    return bound


def _values(route: Route, resources: Resources) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for need in route.needs:
        try:
            values[need.parameter] = resources.get(need.type_)
        except ResourceMissing as error:
            error.add_note(f"It is wanted by {route}, parameter {need.parameter!r}.")
            raise
    return values


def _bind_handler(handler: Callable[..., Awaitable[object]], values: dict[str, Any]) -> Bound:
    given = partial(handler, **values) if values else handler

    async def bound(request: web.Request) -> web.StreamResponse:
        return to_response(await given(request))

    return bound


def _wrap(middleware: Middleware, inner: Bound) -> Bound:
    async def bound(request: web.Request) -> web.StreamResponse:
        return to_response(await middleware(request, inner))

    return bound
