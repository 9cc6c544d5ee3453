"""HTTP as apps see it: routes and groups, handler binding, responses. Importing this package loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore.web.binding import bind
    from eggycore.web.connection import draining
    from eggycore.web.needs import Need
    from eggycore.web.responses import Problem, json_response, read_json
    from eggycore.web.routes import Route, Router

_HOME = {
    "Need": "eggycore.web.needs",
    "Problem": "eggycore.web.responses",
    "Route": "eggycore.web.routes",
    "Router": "eggycore.web.routes",
    "bind": "eggycore.web.binding",
    "draining": "eggycore.web.connection",
    "json_response": "eggycore.web.responses",
    "read_json": "eggycore.web.responses",
}

__all__ = ["Need", "Problem", "Route", "Router", "bind", "draining", "json_response", "read_json"]


def __getattr__(name: str) -> object:
    if (home := _HOME.get(name)) is None:
        raise AttributeError(f"module 'eggycore.web' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
