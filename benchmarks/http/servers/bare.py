"""Bare aiohttp on uvloop: the handler and nothing else."""

import sys

import orjson
import uvloop
from aiohttp import web


class Forms:
    def get(self, id: str) -> dict[str, object]:
        return {"id": id, "title": "Survey", "fields": ["name", "age", "city"]}


forms = Forms()


async def read(request: web.Request) -> web.Response:
    return web.Response(body=orjson.dumps(forms.get(request.match_info["id"])), content_type="application/json")


app = web.Application()
app.router.add_get("/forms/{id}", read)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, loop=uvloop.new_event_loop())
