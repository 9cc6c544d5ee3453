"""The configuration over HTTP, on the management port: what is in force, and a reload on request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from eggycore.web.responses import JSON, Problem

if TYPE_CHECKING:
    from eggycore.config import Configuration, ReloadResult
    from eggycore.reload_record import ReloadStatus
    from eggycore.server.access import Access
    from eggycore.web.routes import Router

__all__ = ["ConfigurationService"]

_NO_STORE = {"Cache-Control": "no-store"}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="configuration"'}
_SET_ONE = "Set MANAGEMENT_TOKEN (or MANAGEMENT_TOKEN_FILE) and restart, then send it as Authorization: Bearer ..."
_SEND_IT = "Send MANAGEMENT_TOKEN as Authorization: Bearer ..."


class ConfigurationService:
    """Shows the configuration in force, and has it read again. Secrets are masked.

    Args:
        config: The configuration in force.
        status: How the last reload ended, and what waits for a restart.
        reload: Reads the configuration again; those who ask meanwhile share one more reload.
        access: Who may see it. Only bearers of the management token may have it reloaded, wherever they come from.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Configuration],
        status: Callable[[], ReloadStatus],
        reload: Callable[[], Awaitable[ReloadResult]],
        access: Access,
    ) -> None:
        self._config = config
        self._status = status
        self._reload = reload
        self._access = access

    def add_routes(self, router: Router) -> None:
        """Record GET /config and POST /config/reload."""
        router.get("/config", self._show)
        router.post("/config/reload", self._take)

    async def _show(self, request: web.Request) -> web.Response:
        if not self._access.may_see_details(request):
            raise self._refusal()
        from eggycore.config.status import status_dict  # here: no process pays for it before somebody asks

        body = orjson.dumps(status_dict(self._config(), self._status()), option=orjson.OPT_INDENT_2)
        return web.Response(body=body, content_type=JSON, headers=_NO_STORE)

    async def _take(self, request: web.Request) -> web.Response:
        if not self._access.bears_token(request):
            raise self._refusal()
        from eggycore.config.status import failure_dict, outcome_dict  # here, likewise

        result = await self._reload()
        outcome: dict[str, Any] = outcome_dict(result)
        if result.error is None:
            return web.Response(body=orjson.dumps(outcome), content_type=JSON, headers=_NO_STORE)
        why: dict[str, Any] = failure_dict(result.error)
        title, detail = f"The reload was {result.outcome}", why.pop("reason")
        raise Problem(409, title, detail, headers=_NO_STORE, **outcome, **why)

    def _refusal(self) -> Problem:
        if self._access.has_token:
            return Problem(401, "Only for bearers of the management token", _SEND_IT, headers=_NO_STORE | _CHALLENGE)
        return Problem(403, "There is no management token", _SET_ONE, headers=_NO_STORE)
