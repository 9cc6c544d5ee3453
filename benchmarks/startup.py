"""From exec to the first 200, beside a bare aiohttp and uvloop hello world."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import command, eggycore_ports, free_ports, serving
from benchmarks.rows import Row, at_most, medians

ROUNDS = 15
SAMPLE_APP = Path(__file__).parents[1] / "sample_app"

BARE = """
import sys, uvloop
from aiohttp import web

async def hello(request):
    return web.json_response({"hello": "world"})

app = web.Application()
app.router.add_get("/", hello)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, loop=uvloop.new_event_loop())
"""

ONE_ROUTE = """
from eggycore import hookimpl

async def hello(request):
    return {"hello": "world"}

@hookimpl
def register_services(runtime):
    runtime.http.get("/", hello)
"""


def rows() -> list[Row]:
    """Exec to first 200, as multiples of the bare server."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bare.py").write_text(BARE)
        (folder / "one_route.py").write_text(ONE_ROUTE)
        bare, one_route, without_grpc, with_grpc = medians(
            ROUNDS,
            partial(_bare, folder),
            partial(_one_route, folder),
            partial(_sample_app, folder, grpc=False),
            partial(_sample_app, folder, grpc=True),
        )
    return [
        at_most("start: one route and monitoring, times bare aiohttp", one_route / bare, 1.75),
        at_most("start: sample app without gRPC, times bare aiohttp", without_grpc / bare, 2.3),
        at_most("start: sample app with gRPC, times bare aiohttp", with_grpc / bare, 2.9),
    ]


def _bare(folder: Path) -> float:
    (port,) = free_ports(1)
    with serving([sys.executable, "bare.py", str(port)], port=port, path="/", cwd=folder) as server:
        return server.seconds


def _one_route(folder: Path) -> float:
    words = [command("eggycore"), "run", "one_route", "--plugins", "monitoring"]
    return _eggycore(words, path="/", cwd=folder)


def _sample_app(folder: Path, *, grpc: bool) -> float:
    words = [command("eggycore"), "run", "--plugins", "db,cache,monitoring"]
    database = f"sqlite:///{folder}/forms.db"
    switch = "true" if grpc else "false"
    return _eggycore(words, path="/api/v1/forms", cwd=SAMPLE_APP, DATABASE_DSN=database, ENABLE_BUSINESS_GRPC=switch)


def _eggycore(words: list[str], *, path: str, cwd: Path, **settings: str) -> float:
    ports = eggycore_ports()
    port = int(ports["BUSINESS_HTTP_PORT"])
    with serving(words, port=port, path=path, cwd=cwd, environ=ports | settings) as server:
        return server.seconds
