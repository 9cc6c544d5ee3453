"""Turns what a handler raised into an answer that tells clients nothing, and a log line that tells everything."""

from __future__ import annotations

import asyncio

from aiohttp import web

from eggycore import log
from eggycore.errors import Unavailable
from eggycore.web.middleware.unserved import warn_unserved
from eggycore.web.responses import Problem, problem_of

__all__ = ["CLIENT_GONE", "INTERNAL_ERROR", "answer_to", "client_is_gone"]

CLIENT_GONE = 499
"""The status in logs and metrics when the client hung up before it had the answer; nobody receives it."""

INTERNAL_ERROR = 500


def answer_to(error: BaseException, request: web.BaseRequest) -> web.Response:
    """The answer for a request whose handler raised this."""
    if isinstance(error, web.HTTPException):
        return problem_of(error)
    if isinstance(error, asyncio.CancelledError) and _is_being_cut():
        log.warn("request cut", method=request.method, path=request.path)
        return problem_of(
            Problem(503, "Stopping", "The server is stopping; send the request again.", headers={"Retry-After": "1"})
        )
    if isinstance(error, Unavailable):
        detail = str(error)
        warn_unserved("request not served", detail, method=request.method, path=request.path)
        return problem_of(Problem(503, detail=detail, headers={"Retry-After": "1"}))
    log.error("request failed", method=request.method, path=request.path, exc=error)
    return problem_of(Problem(INTERNAL_ERROR, request_id=log.request_id()))


def client_is_gone(request: web.BaseRequest) -> bool:
    """Whether nobody is there any more to receive an answer."""
    transport = request.transport
    return transport is None or transport.is_closing()


def _is_being_cut() -> bool:
    """Whether the task of this request is being cancelled, which only the end of the shutdown budget does."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
