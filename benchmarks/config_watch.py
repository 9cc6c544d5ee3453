"""From a change of a ConfigMap to `config_changed` in a process: through the API watch, and through a mount."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from benchmarks.processes import command, eggycore_ports, serving
from benchmarks.rows import Row, at_most

THROUGH_THE_API = 500
THROUGH_A_MOUNT = 100
WARM_UP = 20
"""Changes before those that count."""

API_LIMIT_MS = 50
MOUNT_LIMIT_MS = 1000
PATIENCE = 10.0
"""Seconds after which a change that is not reported is a failed benchmark."""

REPOSITORY = Path(__file__).parents[1]
WATCHING = Path(__file__).parent / "data" / "watching"
DEVELOPMENT = os.environ.get("DEVELOPMENT_PYTHON", str(REPOSITORY / ".venv" / "bin" / "python"))
"""A python with what the tests' servers need."""


def rows() -> list[Row]:
    """The slowest, as a share of what is allowed."""
    with TemporaryDirectory() as name, _cluster(Path(name)) as cluster:
        ours, bare = _through_the_api(cluster)
        mount = _through_a_mount(cluster)
    for what, times in (("API watch", ours), ("bare watch", bare), ("mount", mount)):
        print(f"{what}: p50 {median(times):.1f} ms, p99 {_p99(times):.1f} ms, max {max(times):.1f} ms", file=sys.stderr)
    beside = f"{_p99(ours):.0f} ms; a bare watch {_p99(bare):.0f} ms"
    return [
        at_most(
            f"ConfigMap to config_changed, API watch, p99 of {len(ours)} ({beside}), times {API_LIMIT_MS} ms",
            _p99(ours) / API_LIMIT_MS,
            1.0,
        ),
        at_most(
            f"ConfigMap to config_changed, mount, slowest of {len(mount)} ({max(mount):.0f} ms), times 1 s",
            max(mount) / MOUNT_LIMIT_MS,
            1.0,
        ),
    ]


@dataclass
class _Cluster:
    """What is changed, and by whom that is reported.

    Args:
        folder: Where the reports' sockets are.
        process: The one that makes the changes.
        kubeconfig: Where its API server is.
    """

    folder: Path
    process: subprocess.Popen[str]
    kubeconfig: str

    def change(self, what: str) -> int:
        """Give it a new mark, which is returned.

        Raises:
            RuntimeError: The process has ended.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return int(_line(self.process))


@dataclass
class _Watcher:
    """A process that reports the marks that it is told of.

    Args:
        name: For messages.
        changed: What is changed for it.
        reports: Where they arrive.
    """

    name: str
    changed: str
    reports: socket.socket

    def measure(self, cluster: _Cluster) -> float:
        """Milliseconds from a change to the report of it.

        Raises:
            RuntimeError: There is none.
        """
        mark = cluster.change(self.changed)
        return (self.told(mark) - mark) / 1e6

    def told(self, mark: int) -> int:
        """The moment at which it was told of this mark; on the monotonic clock, in nanoseconds."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                reported, moment = map(int, self.reports.recv(100).split())
            except TimeoutError:
                break
            if reported == mark:
                return moment
        raise RuntimeError(f"{self.name} was not told of a change within {PATIENCE:g} s")


def _through_the_api(cluster: _Cluster) -> tuple[list[float], list[float]]:
    """Ours and the bare watch, in turn."""
    settings = {"K8S_CONFIGMAP_NAME": "ours", "K8S_KUBECONFIG": cluster.kubeconfig}
    with ExitStack() as stack:
        ours = stack.enter_context(_eggycore(cluster, "api ours", settings))
        bare = stack.enter_context(_bare(cluster, "bare"))
        taken = _alternating(cluster, [ours, bare], THROUGH_THE_API, pause=0.02)
    return taken[0], taken[1]


def _through_a_mount(cluster: _Cluster) -> list[float]:
    settings = {"K8S_CONFIG_DIR": str(cluster.folder / "mount")}
    with _eggycore(cluster, "mount", settings) as mount:
        (taken,) = _alternating(cluster, [mount], THROUGH_A_MOUNT, pause=0.2)
    return taken


def _alternating(cluster: _Cluster, watchers: Sequence[_Watcher], count: int, *, pause: float) -> list[list[float]]:
    """What each takes, with random pauses of up to so many seconds: changes come to processes that do nothing."""
    taken: list[list[float]] = [[] for _ in watchers]
    for number in range(WARM_UP + count):
        for watcher, times in zip(watchers, taken, strict=True):
            time.sleep(random.uniform(0, pause))
            spent = watcher.measure(cluster)
            if number >= WARM_UP:
                times.append(spent)
    return taken


def _p99(times: Sequence[float]) -> float:
    return quantiles(times, n=100, method="inclusive")[-1]


@contextmanager
def _cluster(folder: Path) -> Iterator[_Cluster]:
    words = [DEVELOPMENT, "-m", "benchmarks.data.watching.cluster", str(folder)]
    process = subprocess.Popen(words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield _Cluster(folder, process, _line(process))
    finally:
        process.communicate(timeout=PATIENCE)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError("the cluster has ended; it says why above")
    return line


@contextmanager
def _eggycore(cluster: _Cluster, changed: str, settings: dict[str, str]) -> Iterator[_Watcher]:
    """A process with all plugins that follows what is changed."""
    mark = cluster.change(changed)
    words = [command("eggycore"), "run", "watching_app", "--plugins", "db,cache,monitoring,k8s-watch"]
    ports = eggycore_ports()
    with _reports(cluster, "eggycore") as (reports, told), TemporaryDirectory() as data:
        database = {"DATABASE_DSN": f"sqlite:///{data}/bench.db"}
        environ = {**ports, **told, **database, "ENABLE_K8S_CONFIG_WATCH": "true", **settings}
        port = int(ports["HEALTH_CHECK_PORT"])
        with serving(words, port=port, path="/readyz", cwd=WATCHING, environ=environ):
            watcher = _Watcher("eggycore", changed, reports)
            watcher.told(mark)
            yield watcher


@contextmanager
def _bare(cluster: _Cluster, name: str) -> Iterator[_Watcher]:
    mark = cluster.change(f"api {name}")
    words = [sys.executable, str(WATCHING / "bare_watch.py"), cluster.kubeconfig, name]
    with _reports(cluster, "bare") as (reports, told):
        process = subprocess.Popen(words, env=os.environ | told)
        try:
            watcher = _Watcher("the bare watch", f"api {name}", reports)
            watcher.told(mark)
            yield watcher
        finally:
            process.kill()
            process.wait()


@contextmanager
def _reports(cluster: _Cluster, name: str) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A socket for reports, and the variable that names it."""
    path = cluster.folder / f"{name}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reports:
        reports.bind(str(path))
        reports.settimeout(PATIENCE)
        try:
            yield reports, {"TOLD": str(path)}
        finally:
            path.unlink()
