"""`eggycore probe`: an exit code for container health checks."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import Result

Run = Callable[..., Result]


class Probes(BaseHTTPRequestHandler):
    """Live, not ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()
        self.wfile.write(f"answer of {self.path}".encode())

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def health_port(monkeypatch: pytest.MonkeyPatch, folder: object) -> Iterator[int]:
    """The port of a process that is live and not ready, as HEALTH_CHECK_PORT says."""
    with HTTPServer(("127.0.0.1", 0), Probes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("HEALTH_CHECK_PORT", str(server.server_port))
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_green_probe_is_exit_code_0(run: Run, health_port: int) -> None:
    result = run("probe", "live")
    assert (result.exit_code, result.stdout) == (0, "live: 200 answer of /livez\n")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [((), "ready: 503 answer of /readyz\n"), (("startup",), "startup: 503 answer of /startupz\n")],
)
def test_a_red_probe_is_exit_code_1(arguments: tuple[str, ...], answer: str, run: Run, health_port: int) -> None:
    result = run("probe", *arguments)
    assert (result.exit_code, result.stdout) == (1, answer)


def test_the_host_that_every_server_listens_on_is_asked(
    run: Run, health_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIND_HOST", "localhost")
    assert run("probe", "live").exit_code == 0
    monkeypatch.setenv("BIND_HOST", "0.0.0.0")
    assert run("probe", "live").exit_code == 0


def test_nobody_there_is_exit_code_1(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        result = run("probe", "--port", str(port))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"ready: no answer from 127.0.0.1:{port}: Connection refused\n"


def test_a_process_that_does_not_answer_in_time_is_exit_code_1(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        result = run("probe", "--port", str(port), "--timeout", "0.05")
    assert (result.exit_code, result.stderr) == (1, f"ready: no answer from 127.0.0.1:{port}: timed out\n")


def test_a_probe_that_does_not_exist_or_a_port_that_cannot_be_is_exit_code_2(run: Run) -> None:
    assert run("probe", "alive", "--port", "1").exit_code == 2
    assert run("probe", "--port", "0").exit_code == 2


def test_a_probe_imports_neither_asyncio_nor_aiohttp() -> None:
    code = (
        "import sys, eggycore.cli.probe; print(*sorted({'asyncio', 'aiohttp', 'pluggy', 'ssl'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["ssl"]  # http.client's own
