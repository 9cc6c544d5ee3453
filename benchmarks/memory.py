"""Resident memory of the idle sample app with db, cache and monitoring, all servers on."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import command, eggycore_ports, serving
from benchmarks.rows import Row, at_most

LIMIT_MB = 90
IDLE = 3.0
"""Seconds after the first 200, in which health checks have run and nothing else happens."""

SAMPLE_APP = Path(__file__).parents[1] / "sample_app"


def rows() -> list[Row]:
    """The memory as a share of what is allowed."""
    used = _megabytes()
    return [at_most(f"idle memory of the sample app ({used:.0f} MB), times {LIMIT_MB} MB", used / LIMIT_MB, 1.0)]


def _megabytes() -> float:
    ports = eggycore_ports()
    words = [command("eggycore"), "run", "--plugins", "db,cache,monitoring"]
    with TemporaryDirectory() as folder:
        environ = ports | {"DATABASE_DSN": f"sqlite:///{folder}/forms.db"}
        port = int(ports["BUSINESS_HTTP_PORT"])
        with serving(words, port=port, path="/api/v1/forms", cwd=SAMPLE_APP, environ=environ) as server:
            time.sleep(IDLE)
            return _resident(server.pid)


def _resident(pid: int) -> float:
    """Resident set size in MB (10**6 bytes)."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        text = status.read_text().partition("VmRSS:")[2].split()[0]
    else:
        text = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True).stdout
    return int(text) * 1024 / 1e6
