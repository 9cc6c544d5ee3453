"""Sanic on its own server, one process; the three as its request and response middlewares."""

import sys
import time

import orjson
from observed import Forms, begin, end, metrics
from sanic import HTTPResponse, Request, Sanic
from sanic.response import raw

app = Sanic("forms")
forms = Forms()


@app.on_request
async def begin_request(request: Request) -> None:
    request.ctx.started = time.perf_counter()
    request.ctx.request_id = begin(request.headers.get("x-request-id"))


@app.on_response
async def end_request(request: Request, response: HTTPResponse) -> None:
    response.headers["x-request-id"] = request.ctx.request_id
    size = len(response.body or b"")
    end(request.method, request.path, response.status, request.ctx.started, size, request.ip)


@app.get("/forms/<id:str>")
async def read(request: Request, id: str) -> HTTPResponse:
    return raw(orjson.dumps(forms.get(id)), content_type="application/json")


@app.get("/metrics")
async def show_metrics(request: Request) -> HTTPResponse:
    body, content_type = metrics()
    return raw(body, content_type=content_type)


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(sys.argv[1]), single_process=True, access_log=False, motd=False, verbosity=-1)
