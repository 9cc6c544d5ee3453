"""Starlette on uvicorn."""

import sys

import orjson
from observed import Forms, metrics, serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

forms = Forms()


async def read(request: Request) -> Response:
    return Response(orjson.dumps(forms.get(request.path_params["id"])), media_type="application/json")


async def show_metrics(request: Request) -> Response:
    body, content_type = metrics()
    return Response(body, media_type=content_type)


serve(Starlette(routes=[Route("/forms/{id}", read), Route("/metrics", show_metrics)]), int(sys.argv[1]))
