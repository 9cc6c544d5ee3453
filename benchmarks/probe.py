"""The cost of a /readyz probe with 50 checks registered, beside bare aiohttp's static 200."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.http.load import load, pinned
from benchmarks.processes import command, eggycore_ports, free_ports, serving
from benchmarks.rows import Row, at_most, medians

ROUNDS = 7
SECONDS = 2
"""Of load, in each round, on each server."""

BARE = """
import sys, uvloop
from aiohttp import web

async def ready(request):
    return web.Response(body=b'{"status":"UP"}', content_type="application/json")

app = web.Application()
app.router.add_get("/readyz", ready)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, loop=uvloop.new_event_loop())
"""

FIFTY_CHECKS = """
from eggycore import HealthCheck, hookimpl

@hookimpl
def register_health_checks(runtime):
    return [HealthCheck(name=f"check-{number}", check=lambda: None) for number in range(50)]
"""


def rows() -> list[Row]:
    """Time per probe, as a multiple of the time that bare aiohttp takes for a static answer."""
    (bare_port,) = free_ports(1)
    ports = eggycore_ports()
    probe_port = int(ports["HEALTH_CHECK_PORT"])
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "bare.py").write_text(BARE)
        (folder / "fifty_checks.py").write_text(FIFTY_CHECKS)
        bare = [sys.executable, "bare.py", str(bare_port)]
        ours = [command("eggycore"), "run", "fifty_checks", "--plugins", ""]
        measures = []
        for words, port in ((bare, bare_port), (ours, probe_port)):
            serve = serving(pinned(words, 0), port=port, path="/readyz", cwd=folder, environ=ports)
            measures.append(partial(_rate, stack.enter_context(serve).pid, port))
        static, probe = medians(ROUNDS, *measures)
    return [at_most("a /readyz probe with 50 checks, times bare aiohttp's static 200", static / probe, 1.3)]


def _rate(pid: int, port: int) -> float:
    return load(f"http://127.0.0.1:{port}/readyz", pid, SECONDS).rate
