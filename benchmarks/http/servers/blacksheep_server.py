"""BlackSheep on uvicorn."""

import sys

import orjson
from blacksheep import Application, Content, Response, get
from observed import Forms, metrics, serve

app = Application()
forms = Forms()


@get("/forms/{id}")
async def read(id: str) -> Response:
    return Response(200, content=Content(b"application/json", orjson.dumps(forms.get(id))))


@get("/metrics")
async def show_metrics() -> Response:
    body, content_type = metrics()
    return Response(200, content=Content(content_type.encode(), body))


serve(app, int(sys.argv[1]))
