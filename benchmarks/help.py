"""`eggycore --help` beside importing click, which it cannot do without."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

from benchmarks.processes import command
from benchmarks.rows import Row, at_most, medians

ROUNDS = 25


def rows() -> list[Row]:
    """Whole processes, from exec to exit."""
    ours, click = medians(
        ROUNDS,
        partial(_seconds, [command("eggycore"), "--help"]),
        partial(_seconds, [sys.executable, "-c", "import click"]),
    )
    return [at_most("eggycore --help, times python -c 'import click'", ours / click, 1.5)]


def _seconds(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
