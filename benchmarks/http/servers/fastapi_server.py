"""FastAPI on uvicorn; a Response that is returned is sent as it is, which spares validation and encoding."""

import sys

import orjson
from fastapi import FastAPI, Response
from observed import Forms, metrics, serve

app = FastAPI()
forms = Forms()


@app.get("/forms/{id}")
async def read(id: str) -> Response:
    return Response(orjson.dumps(forms.get(id)), media_type="application/json")


@app.get("/metrics")
async def show_metrics() -> Response:
    body, content_type = metrics()
    return Response(body, media_type=content_type)


serve(app, int(sys.argv[1]))
