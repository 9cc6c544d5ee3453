"""RED metrics of HTTP: one histogram by method, route template and status, and a gauge of requests in flight."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from aiohttp.web import AbstractRoute

from eggycore.metrics import Registry

__all__ = ["OTHER_METHOD", "UNMATCHED", "Series", "SeriesOf"]

UNMATCHED = "unmatched"
"""The route of every request that no route answers; its method is "*", so that a scanner makes one series."""

OTHER_METHOD = "_OTHER"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})


class Series(NamedTuple):
    """Where requests of one kind are counted.

    Args:
        route: The route template: "/forms/{id}".
        observe: Takes the duration, in seconds.
    """

    route: str
    observe: Callable[[float], None]


class SeriesOf:
    """Finds the series of a request; on one server, every kind is looked up once and then remembered.

    Args:
        metrics: Where the instruments are declared; None counts nothing.
        server: The server's name, the label of the gauge.
    """

    def __init__(self, metrics: Registry | None, server: str) -> None:
        self._seconds = metrics and metrics.histogram(
            "http_server_request_duration_seconds",
            "Time from the arrival of a request until its answer was sent, in seconds.",
            ("method", "route", "status"),
        )
        gauge = metrics and metrics.gauge(
            "http_server_requests_in_flight", "Requests that are being answered now.", ("server",)
        )
        self.in_flight = gauge.labels(server) if gauge else None
        self.known: dict[tuple[AbstractRoute | None, str, int], Series] = {}

    def __call__(self, route: AbstractRoute | None, method: str, status: int) -> Series:
        """The series of requests with this method that this route answered with this status.

        Args:
            route: The matched route; None when there is none.
            method: The request's method.
            status: The answer's status.
        """
        template = _template(route)
        method_label = "*" if template == UNMATCHED else method if method in _METHODS else OTHER_METHOD
        observe = self._seconds.labels(method_label, template, str(status)).observe if self._seconds else _nothing
        series = Series(template, observe)
        if route is not None and method_label == method:  # else the key is the client's choice, or lives one request
            self.known[route, method, status] = series
        return series


def _template(route: AbstractRoute | None) -> str:
    resource = route.resource if route is not None else None
    return resource.canonical if resource is not None else UNMATCHED


def _nothing(seconds: float) -> None:
    pass
