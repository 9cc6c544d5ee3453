"""Starts servers as processes of their own, and waits for their first 200 with nothing but a socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Serving", "command", "eggycore_ports", "free_ports", "serving"]

PATIENCE = 30.0
"""Seconds after which a server that does not answer is a failed benchmark."""

BETWEEN_POLLS = 0.0005
"""Seconds; the resolution of what is measured."""


@dataclass(frozen=True)
class Serving:
    """A server that has answered 200.

    Args:
        pid: Its process.
        seconds: From just before exec to its first 200.
    """

    pid: int
    seconds: float


def command(name: str) -> str:
    """The path of a script beside the running python: "eggycore"."""
    return str(Path(sys.executable).with_name(name))


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def eggycore_ports() -> dict[str, str]:
    """Settings that put every server of an eggycore process on a free port of the loopback."""
    settings = ("BUSINESS_HTTP_PORT", "BUSINESS_GRPC_PORT", "HEALTH_CHECK_PORT", "METRICS_PORT")
    ports = zip(settings, map(str, free_ports(len(settings))), strict=True)
    return {"BIND_HOST": "127.0.0.1", **dict(ports)}


@contextmanager
def serving(
    words: Sequence[str], *, port: int, path: str, cwd: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Serving]:
    """Run a server until the end of the block.

    Args:
        words: The command line.
        port: Where it will listen, on 127.0.0.1.
        path: What to ask for.
        cwd: Its working folder.
        environ: Variables to add to a plain environment.

    Raises:
        RuntimeError: It ended, or did not answer 200 in time; with what it wrote.
    """
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=cwd, env={**plain, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            while not _answers(port, path):
                if process.poll() is not None or time.perf_counter() - began > PATIENCE:
                    output.seek(0)
                    raise RuntimeError(f"no 200 from {' '.join(words)}:\n{output.read().decode()}")
                time.sleep(BETWEEN_POLLS)
            yield Serving(process.pid, time.perf_counter() - began)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _answers(port: int, path: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except (ConnectionRefusedError, ConnectionResetError):
        return False
