"""The probes over HTTP: /healthz, /livez, /readyz, /startupz and /readyz/<check>, for a kubelet and for people."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import orjson
from aiohttp import web

from eggycore.config import Secret
from eggycore.health import Health
from eggycore.server.access import Access
from eggycore.types import CheckKind
from eggycore.web.responses import Problem

if TYPE_CHECKING:
    from eggycore.web.routes import Router

__all__ = ["HealthService"]

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]

_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="details of health checks"'}


class HealthService:
    """Answers probes from what `Health` has ready; asks nothing and waits for nothing.

    With `?verbose` the answer holds details for those who may see them: bearers of the management token, and outside
    Kubernetes whoever comes from the loopback. For everybody else `?verbose` changes nothing, so that a prober that
    sends it goes on seeing the truth; the header WWW-Authenticate then says what is missing. It never changes the
    status code.

    Args:
        health: What is answered.
        token: The management token; None or an empty one lets nobody in.
        environ: The process environment, which tells whether this is a pod.
    """

    def __init__(
        self, health: Health, *, token: Secret[str] | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._health = health
        self._access = Access(token, environ)

    def add_routes(self, router: Router) -> None:
        """Record the probes; each answers GET and HEAD."""
        router.get("/healthz", self._healthz)
        router.get("/livez", self._probe("live"))
        router.get("/readyz", self._probe("ready"))
        router.get("/startupz", self._probe("startup"))
        router.get("/readyz/{check:.+}", self._check)

    async def _healthz(self, request: web.Request) -> web.Response:
        plain = self._health.report_dict()
        return self._answer(request, orjson.dumps(plain), 200 if plain["status"] else 503)

    def _probe(self, kind: CheckKind) -> Handler:
        probe = self._health.probe

        async def answer(request: web.Request) -> web.Response:
            result = probe(kind)
            if request.query_string:
                return self._answer(request, result.body, result.http_status)
            return web.Response(body=result.body, status=result.http_status, headers=_HEADERS)

        return answer

    async def _check(self, request: web.Request) -> web.Response:
        result = self._health.check_result(request.match_info["check"])
        if result is None:
            raise Problem(
                404,
                "No such health check",
                "/healthz lists the checks; only those for readiness are found here.",
                headers={"Cache-Control": "no-store"},
            )
        return self._answer(request, result.body, result.http_status)

    def _answer(self, request: web.Request, plain: bytes, status: int) -> web.Response:
        if not _asks_for_details(request):
            return web.Response(body=plain, status=status, headers=_HEADERS)
        if not self._access.may_see_details(request):
            return web.Response(body=plain, status=status, headers=_HEADERS | _CHALLENGE)
        detailed = orjson.dumps(self._health.report_dict(verbose=True), option=orjson.OPT_INDENT_2)
        return web.Response(body=detailed, status=status, headers=_HEADERS)


def _asks_for_details(request: web.Request) -> bool:
    return request.query.get("verbose", "false").lower() not in ("0", "false", "no")
