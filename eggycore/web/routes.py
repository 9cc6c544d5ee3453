"""Records HTTP routes, alone or in groups with middlewares of their own; a server reads them when it starts."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError
from eggycore.web.needs import Handler, Need, name_of, needs_of

if TYPE_CHECKING:
    from aiohttp.web import Request, StreamResponse

__all__ = ["ANY_METHOD", "Middleware", "Route", "RouteRefused", "Router", "RouterClosed"]

Middleware: TypeAlias = "Callable[[Request, Callable[[Request], Awaitable[StreamResponse]]], Awaitable[StreamResponse]]"
"""`async def middleware(request, handler)`: awaits the handler, or answers in its place. aiohttp's fit as they are."""

ANY_METHOD = "*"

_METHOD = re.compile(r"[A-Z]+|\*")
_PART = re.compile(r"(\{[_a-zA-Z][^{}]*(?:\{[^{}]*\}[^{}]*)*\})")
_VARIABLE = re.compile(r"\{([_a-zA-Z][_a-zA-Z0-9]*)(?::(.+))?\}")


@dataclass(frozen=True)
class Route:
    """One method of one path, and what answers it.

    Args:
        method: Upper-case method, or "*" for any.
        path: With variables: "/forms/{id}", "/files/{name:.+}".
        handler: What answers.
        needs: The resources it is given.
        middlewares: Of its groups, the outermost first.
    """

    method: str
    path: str
    handler: Handler
    needs: tuple[Need, ...] = ()
    middlewares: tuple[Middleware, ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def shape(self) -> str:
        """The path without the names of its variables: routes of one shape match the same requests."""
        return _shape(self.path)


@dataclass(eq=False)
class RouteRefused(UsageError):
    """A route cannot be recorded.

    Args:
        route: "GET /forms/{id}".
        reason: Why not, as the rest of a sentence that starts with the route.
        action: What to do.
    """

    route: str
    reason: str
    action: str


@dataclass(eq=False)
class RouterClosed(UsageError):
    """A route came too late: the plan is made, the server reads its routes once."""

    route: str


@diagnose.register
def _(error: RouteRefused) -> Diagnosis:
    return Diagnosis(description=f"Route {error.route} {error.reason}.", action=error.action)


@diagnose.register
def _(error: RouterClosed) -> Diagnosis:
    return Diagnosis(
        description=f"Route {error.route} was added after the plan was made.",
        cause="Routes are recorded once, so that a missing resource is found before anything opens.",
        action="Add it in register_services; to answer differently later, decide inside the handler.",
    )


@dataclass(eq=False)
class _Recorded:
    """What a router and all its groups have recorded."""

    routes: dict[tuple[str, str], Route] = field(default_factory=dict)
    closed: bool = False


class Router:
    """Records routes until it is closed. Nothing is served by it."""

    def __init__(self) -> None:
        self._recorded = _Recorded()
        self._prefix = ""
        self._middlewares: tuple[Middleware, ...] = ()

    def get(self, path: str, handler: Handler) -> Route:
        """Record a GET route; it answers HEAD as well unless a route for HEAD is recorded."""
        return self.route("GET", path, handler)

    def post(self, path: str, handler: Handler) -> Route:
        """Record a POST route."""
        return self.route("POST", path, handler)

    def put(self, path: str, handler: Handler) -> Route:
        """Record a PUT route."""
        return self.route("PUT", path, handler)

    def patch(self, path: str, handler: Handler) -> Route:
        """Record a PATCH route."""
        return self.route("PATCH", path, handler)

    def delete(self, path: str, handler: Handler) -> Route:
        """Record a DELETE route."""
        return self.route("DELETE", path, handler)

    def route(self, method: str, path: str, handler: Handler) -> Route:
        """Record a route.

        Args:
            method: Any method, or "*" for every one that has no route of its own on this path.
            path: Starts with "/"; "{name}" stands for one segment, "{name:regex}" for what the regex matches.
            handler: `async def handler(request, ...)`; parameters annotated with resource types receive them.

        Raises:
            HandlerRefused: The handler is not async, or a parameter's type cannot be told.
            RouteRefused: The method or path is wrong, or recorded before.
            RouterClosed: The plan has been made.
        """
        method, path = method.upper(), self._prefix + path
        route = f"{method} {path}"
        if self._recorded.closed:
            raise RouterClosed(route)
        _check(method, path)
        key = (method, _shape(path))
        if (known := self._recorded.routes.get(key)) is not None:
            raise RouteRefused(
                route,
                f"is recorded twice, for {name_of(known.handler)} and for {name_of(handler)}",
                "Give one of them another path or method.",
            )
        new = Route(method, path, handler, needs_of(handler), self._middlewares)
        self._recorded.routes[key] = new
        return new

    def group(self, prefix: str = "", *middlewares: Middleware) -> Router:
        """A router whose routes start with `prefix` and run through `middlewares`, the first one outermost.

        Groups nest. A group records into the router it was made from.
        """
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise RouteRefused(
                f"group {prefix!r}", "does not start with a slash, or ends with one", "Write it like '/api/v1'."
            )
        group = Router()
        group._recorded = self._recorded
        group._prefix = self._prefix + prefix
        group._middlewares = (*self._middlewares, *middlewares)
        return group

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route recorded, those of all groups included, in the order of recording."""
        return tuple(self._recorded.routes.values())

    def close(self) -> None:
        """Take no more routes, from here or from any group."""
        self._recorded.closed = True


def _check(method: str, path: str) -> None:
    route = f"{method} {path}"
    if not _METHOD.fullmatch(method):
        raise RouteRefused(route, "has a method that is none", "Write a method like 'GET', or '*' for any.")
    if not path.startswith("/"):
        raise RouteRefused(route, "has a path without a leading slash", f"Write it as {'/' + path!r}.")
    names: set[str] = set()
    for part in _PART.split(path):
        variable = _VARIABLE.fullmatch(part)
        if variable is None and ("{" in part or "}" in part):
            raise RouteRefused(route, f"has a part {part!r} with a stray brace", "Write a variable like '{id}'.")
        if variable is None:
            continue
        if variable[1] in names:
            raise RouteRefused(route, f"names the variable {variable[1]!r} twice", "Give each variable its own name.")
        names.add(variable[1])
        _check_pattern(route, variable[2])


def _check_pattern(route: str, pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise RouteRefused(route, f"has a pattern {pattern!r} that is wrong: {error}", "Correct the pattern.") from None


def _shape(path: str) -> str:
    return "".join(
        "{:" + (variable[2] or "") + "}" if (variable := _VARIABLE.fullmatch(part)) else part
        for part in _PART.split(path)
    )
