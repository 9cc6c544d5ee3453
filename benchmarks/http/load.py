"""Puts load on one server with wrk, server and load on a core of their own where there are two."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Load", "load", "pinned"]

CONNECTIONS = 32


@dataclass(frozen=True)
class Load:
    """What one server did under load.

    Args:
        rate: Requests per second.
        cost: CPU time of the server per request, in microseconds; of all its threads, in user and system mode.
    """

    rate: float
    cost: float


def load(url: str, pid: int, seconds: int) -> Load:
    """Ask for this address on 32 connections for that long.

    Args:
        url: What is asked for.
        pid: The process of the server.
        seconds: Whole seconds.

    Raises:
        RuntimeError: wrk is not installed, or a request failed.
    """
    if (wrk := shutil.which("wrk")) is None:
        raise RuntimeError(
            "wrk is not installed. Install it: sudo apt-get install wrk (Debian), brew install wrk (macOS)."
        )
    before = _cpu_seconds(pid)
    words = [wrk, "--threads=1", f"--connections={CONNECTIONS}", f"--duration={seconds}s", url]
    report = subprocess.run(pinned(words, 1), check=True, capture_output=True, text=True).stdout
    spent = _cpu_seconds(pid) - before
    if "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(f"requests to {url} failed:\n{report}")
    count = int(_found(r"(\d+) requests in", report))
    return Load(rate=float(_found(r"Requests/sec:\s+([\d.]+)", report)), cost=spent / count * 1e6)


def pinned(words: list[str], core: int) -> list[str]:
    """The command, kept on the core of this number where the system can do that and has two."""
    if not hasattr(os, "sched_getaffinity") or shutil.which("taskset") is None:
        return words
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(cores[core]), *words] if len(cores) > 1 else words


def _cpu_seconds(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _found(pattern: str, report: str) -> str:
    match = re.search(pattern, report)
    if match is None:
        raise RuntimeError(f"wrk reported something else:\n{report}")
    return match[1]
