"""A JSON GET with request id, JSON access line and RED metrics: eggycore beside bare aiohttp and other frameworks.

Every server is one process on uvloop. Bare aiohttp has none of the three; the others have all of them, made with the
libraries that their users take (see `servers/observed.py`). Before anything is measured each server must show that
it does what it claims: it takes a request id over, logs the line, and counts the request.

    python -m benchmarks.http.run            # RIVALS_PYTHON is the python that has benchmarks/requirements.txt
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.http.load import Load, load, pinned
from benchmarks.processes import command, eggycore_ports, free_ports, serving
from benchmarks.rows import Row, at_least, medians

ROUNDS = 7
SECONDS = 2
"""Of load, in each round, on each server."""

PATIENCE = 5.0
"""Seconds in which a line has to be written."""

PATH = "/forms/42"
BODY = {"id": "42", "title": "Survey", "fields": ["name", "age", "city"]}
ROUTE = "/forms/{id}"

SERVERS = Path(__file__).parent / "servers"
RIVALS_PYTHON = os.environ.get("RIVALS_PYTHON", str(Path(__file__).parents[2] / ".venv-rivals" / "bin" / "python"))
RIVALS = {
    "FastAPI": "fastapi",
    "Starlette": "starlette",
    "BlackSheep": "blacksheep",
    "Sanic": "sanic",
    "Litestar": "litestar",
}


@dataclass
class Contender:
    """One server, and what it did so far.

    Args:
        name: For the table.
        words: Its command line.
        port: Where it listens.
        metrics: Where its metrics are read; "" when it has none, nor anything else beside the answer.
        environ: Its settings.
    """

    name: str
    words: list[str]
    port: int
    metrics: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    loads: list[Load] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def measure(self, pid: int) -> float:
        """Requests per second in one round."""
        self.loads.append(load(self.url, pid, SECONDS))
        return self.loads[-1].rate


def rows() -> list[Row]:
    """Requests per second of eggycore, as multiples of bare aiohttp and of the fastest rival."""
    contenders = [_bare(), _eggycore(), *(_rival(name, module) for name, module in RIVALS.items())]
    with ExitStack() as stack:
        measures = [partial(each.measure, stack.enter_context(_running(each))) for each in contenders]
        bare, ours, *theirs = medians(ROUNDS, *measures)
    _print(contenders)
    rate, fastest = max(zip(theirs, RIVALS, strict=True))
    return [
        at_least("http: JSON GET with id, access line and metrics, times bare aiohttp", ours / bare, 0.78),
        at_least(f"http: the same, times the fastest of {len(RIVALS)} frameworks ({fastest})", ours / rate, 1.5),
    ]


def _bare() -> Contender:
    (port,) = free_ports(1)
    return Contender("aiohttp, bare", [sys.executable, str(SERVERS / "bare.py"), str(port)], port)


def _eggycore() -> Contender:
    ports = eggycore_ports()
    words = [command("eggycore"), "run", "eggycore_server", "--plugins", "monitoring"]
    metrics = f"http://127.0.0.1:{ports['METRICS_PORT']}/metrics"
    return Contender("eggycore", words, int(ports["BUSINESS_HTTP_PORT"]), metrics, ports | {"PYTHONPATH": str(SERVERS)})


def _rival(name: str, module: str) -> Contender:
    (port,) = free_ports(1)
    words = [RIVALS_PYTHON, str(SERVERS / f"{module}_server.py"), str(port)]
    return Contender(name, words, port, f"http://127.0.0.1:{port}/metrics")


@contextmanager
def _running(contender: Contender) -> Iterator[int]:
    """The process of the server, which has shown that it does what it is measured for."""
    into_file = ["sh", "-c", 'exec "$@" > access.log', "sh"]
    with TemporaryDirectory() as name:
        folder = Path(name)
        words = pinned([*into_file, *contender.words], 0)
        with serving(words, port=contender.port, path=PATH, cwd=folder, environ=contender.environ) as server:
            _check(contender, folder / "access.log")
            yield server.pid


def _check(contender: Contender, log: Path) -> None:
    """Raise unless the answer is right, its id is ours, and the request is logged and counted.

    Raises:
        RuntimeError: The server does less than it is measured for.
    """
    request_id = f"check-{contender.port}"
    request = urllib.request.Request(contender.url, headers={"X-Request-ID": request_id})
    with urllib.request.urlopen(request) as answer:
        if json.load(answer) != BODY:
            raise RuntimeError(f"{contender.name} does not answer with the form")
        taken_over = answer.headers.get("X-Request-ID")
    if not contender.metrics:
        return
    if taken_over != request_id:
        raise RuntimeError(f"{contender.name} does not take a request id over: {taken_over}")
    with urllib.request.urlopen(contender.metrics) as answer:
        if f'route="{ROUTE}",status="200"' not in answer.read().decode():
            raise RuntimeError(f"{contender.name} does not count requests by route and status")
    line = _line_of(request_id, log)
    wanted = {"method": "GET", "path": PATH, "route": ROUTE, "status": 200}
    if missing := wanted.items() - line.items():
        raise RuntimeError(f"the access line of {contender.name} lacks {missing}")


def _line_of(request_id: str, log: Path) -> dict[str, object]:
    """The line of this request, waited for: lines may be written in batches. An empty one when none comes."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for text in log.read_text().rpartition("\n")[0].splitlines():
            if request_id in text and isinstance(line := json.loads(text), dict):
                return {name: value for name, value in line.items() if isinstance(value, str | int)}
        time.sleep(0.01)
    return {}


def _print(contenders: list[Contender]) -> None:
    for each in contenders:
        rate, cost = median(one.rate for one in each.loads), median(one.cost for one in each.loads)
        print(f"  {each.name:15}{rate:8.0f} requests/s{cost:8.1f} us CPU per request")


if __name__ == "__main__":
    for row in rows():
        print(json.dumps(row.to_dict()))
