"""A contender: a process that has opened a database or cache and measures on command, so that rounds take turns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import IO

from benchmarks.rows import medians

__all__ = ["OURS", "RIVALS", "Contender", "compare", "running"]

OURS = sys.executable
RIVALS = os.environ.get("RIVALS_PYTHON", str(Path(__file__).parents[2] / ".venv-rivals" / "bin" / "python"))

ROUNDS = 7
SECONDS = 0.4
"""Of each measurement."""

CONTENDERS = Path(__file__).parent / "contenders"


@dataclass
class Contender:
    """One side of a comparison.

    Args:
        name: For the table.
        python: That has what it needs: OURS or RIVALS.
        script: In `contenders`.
        arguments: Of the script.
    """

    name: str
    python: str
    script: str
    arguments: Sequence[str] = ()
    costs: list[float] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def measure(self, operation: str, tasks: int) -> float:
        """Operations per second of so many tasks, in one round.

        Raises:
            RuntimeError: It has ended.
        """
        assert self.process is not None
        commands, answers = _pipes(self.process)
        with suppress(BrokenPipeError):  # it has ended, so there is no answer either
            commands.write(f"{operation} {tasks} {SECONDS}\n")
            commands.flush()
        answer = answers.readline()
        if not answer:
            raise RuntimeError(f"{self.name} has ended while it measured {operation!r}; it says why above")
        done, seconds, cpu = map(float, answer.split())
        self.costs.append(cpu / done)
        return done / seconds


@contextmanager
def running(contenders: Sequence[Contender]) -> Iterator[None]:
    """Keep all of them open until the end of the block.

    Raises:
        RuntimeError: One of them cannot open what it measures, or does not do what it is measured for.
    """
    with ExitStack() as stack:
        for each in contenders:
            stack.enter_context(_running(each))
        yield


def compare(contenders: Sequence[Contender], operation: str, tasks: int) -> list[float]:
    """Operations per second of each, measured in turn; prints them, and what they cost, to stderr."""
    for each in contenders:
        each.costs.clear()
    rates = medians(ROUNDS, *(partial(each.measure, operation, tasks) for each in contenders))
    for each, rate in zip(contenders, rates, strict=True):
        cost = f"{rate:8.0f}/s{median(each.costs) * 1e6:8.1f} us CPU each"
        print(f"  {operation:12}{tasks:3} tasks  {each.name:32}{cost}", file=sys.stderr)
    return rates


@contextmanager
def _running(contender: Contender) -> Iterator[None]:
    words = [contender.python, str(CONTENDERS / contender.script), *contender.arguments]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    contender.process = process
    try:
        if _pipes(process)[1].readline() != "ready\n":
            raise RuntimeError(f"{contender.name} does not open; it says why above")
        yield
    finally:
        _end(process)
        contender.process = None


def _end(process: subprocess.Popen[str]) -> None:
    for pipe in _pipes(process):
        with suppress(BrokenPipeError):  # what was still to be sent to it
            pipe.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout
