"""Litestar on uvicorn; it writes JSON with msgspec."""

import sys
from typing import Any

from litestar import Litestar, Response, get
from observed import Forms, metrics, serve

forms = Forms()


@get("/forms/{id:str}")
async def read(id: str) -> dict[str, Any]:
    return forms.get(id)


@get("/metrics", sync_to_thread=False)
def show_metrics() -> Response[bytes]:
    body, content_type = metrics()
    return Response(body, media_type=content_type)


serve(Litestar([read, show_metrics], openapi_config=None), int(sys.argv[1]))
