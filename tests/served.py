"""Runs `eggycore run` as a process on free ports, for tests of what a reader or an installer does."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PORTS = ("BUSINESS_HTTP_PORT", "BUSINESS_GRPC_PORT", "HEALTH_CHECK_PORT", "METRICS_PORT")
PATIENCE = 30.0
"""Seconds that a server may take to become ready, or to stop."""

BETWEEN_POLLS = 0.02
"""Seconds."""


@contextmanager
def served(words: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """Run a server until the end of the block; it must become ready, and exit 0 when it is told to stop.

    Args:
        words: The command line.
        cwd: Its working folder; its output goes to `server.log` there.
        environ: Its whole environment; the ports are added.

    Yields:
        The ports, by the variable that sets them.
    """
    ports = free_ports()
    log = cwd / "server.log"
    with log.open("wb") as output:
        variables = {**environ, **{name: str(port) for name, port in ports.items()}}
        process = subprocess.Popen(words, cwd=cwd, env=variables, stdout=output, stderr=output)
    try:
        _wait_until_ready(process, ports["HEALTH_CHECK_PORT"], log)
        yield ports
        process.terminate()
        assert process.wait(PATIENCE) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def free_ports() -> dict[str, int]:
    """A free port of the loopback for each of PORTS, all different."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in PORTS}
    ports = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return ports


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while not _is_ready(port):
        try:
            process.wait(BETWEEN_POLLS)
        except subprocess.TimeoutExpired:
            if time.monotonic() < until:
                continue
        raise AssertionError(f"it did not become ready:\n{log.read_text()}")


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except (urllib.error.URLError, ConnectionError):
        return False
