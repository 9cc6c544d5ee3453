"""Request id, JSON access line and RED metrics for the other frameworks, with the libraries that their users take.

structlog is set up as the chapter "Performance" of its documentation says, which is the fastest way it knows: orjson,
a filtering bound logger that is cached, bytes straight to stdout. prometheus_client counts in one histogram, whose
count is the number of requests. Ids are uuid4. The ASGI frameworks share one plain ASGI middleware: theirs on top of
it (BaseHTTPMiddleware, @app.middleware) cost more. The route template is a constant, so that nobody pays for finding
it. Every framework answers in the way that its documentation calls the fastest, and none pays for injecting anything.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest

ROUTE = "/forms/{id}"

structlog.configure(
    cache_logger_on_first_use=True,
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(serializer=orjson.dumps),
    ],
    logger_factory=structlog.BytesLoggerFactory(),
)
log = structlog.get_logger()
seconds = Histogram("http_server_request_duration_seconds", "Duration.", ["method", "route", "status"])

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Forms:
    def get(self, id: str) -> dict[str, object]:
        return {"id": id, "title": "Survey", "fields": ["name", "age", "city"]}


def metrics() -> tuple[bytes, str]:
    """The body and content type of /metrics."""
    return generate_latest(), CONTENT_TYPE_LATEST


def begin(incoming: str | None) -> str:
    """The request id, bound to the log context of the current task."""
    request_id = incoming or uuid.uuid4().hex
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def end(method: str, path: str, status: int, started: float, size: int, remote: str) -> None:
    """Count the request and write its line."""
    duration = time.perf_counter() - started
    seconds.labels(method, ROUTE, str(status)).observe(duration)
    log.info(
        "request",
        method=method,
        path=path,
        route=ROUTE,
        status=status,
        duration_ms=round(duration * 1000, 3),
        bytes=size,
        remote=remote,
    )


class Observed:
    """The three as one ASGI middleware."""

    def __init__(self, app: Callable[[Any, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        incoming = next((value.decode() for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = begin(incoming)
        status, size = 500, 0

        async def send_observed(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_observed)
        finally:
            end(scope["method"], scope["path"], status, started, size, scope["client"][0])


def serve(app: Any, port: int) -> None:
    """Serve with uvicorn: one process, uvloop, httptools, no access log beside ours."""
    import uvicorn

    uvicorn.run(
        Observed(app),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
