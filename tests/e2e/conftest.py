"""Real processes: `eggycore run` as a child, its log read line by line, never a sleep."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

APPS = Path(__file__).parents[1] / "data" / "apps"
PATIENCE = 30.0
"""Seconds that anything awaited here may take before the test fails."""

Line = dict[str, Any]


class Instance:
    """One `eggycore run`, with JSON logs on stdout."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[Line] = []
        self.addresses: dict[str, tuple[str, int]] = {}

    async def until(self, message: str, **fields: object) -> Line:
        """Read the log until a line with this message and these fields; a process that ends before fails the test."""
        async with asyncio.timeout(PATIENCE):
            while raw := await self._stdout.readline():
                line = self._take(raw)
                if line.get("message") == message and fields.items() <= line.items():
                    return line
        raise AssertionError(f"it ended before it said {message!r}: {await self.stderr()}\n{self.lines}")

    async def rest(self) -> list[Line]:
        """Read the log to its end and reap the process."""
        async with asyncio.timeout(PATIENCE):
            while raw := await self._stdout.readline():
                self._take(raw)
            await self.process.wait()
        return self.lines

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        await self.rest()
        assert self.process.returncode is not None
        return self.process.returncode

    async def stderr(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def said(self, message: str) -> list[Line]:
        """The lines with this message that were read so far."""
        return [line for line in self.lines if line.get("message") == message]

    @property
    def _stdout(self) -> asyncio.StreamReader:
        assert self.process.stdout is not None
        return self.process.stdout

    def _take(self, raw: bytes) -> Line:
        if not raw.endswith(b"\n"):
            return {}  # it was killed while it wrote this line
        line: Line = json.loads(raw)
        self.lines.append(line)
        if line.get("message") == "listening":
            for name in line["server"].removeprefix("management ").split(", "):
                self.addresses[name] = (line["host"], line["port"])
        return line


@asynccontextmanager
async def started(
    *arguments: str, folder: Path = APPS, script: str = "", stdin: int = asyncio.subprocess.DEVNULL, **environ: str
) -> AsyncIterator[Instance]:
    """`eggycore run`, or a script, with these arguments; killed at the end if it still lives."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *([script] if script else ["-m", "eggycore", "run"]),
        *arguments,
        cwd=folder,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
        env={
            "PATH": os.environ["PATH"],
            "BUSINESS_HTTP_PORT": "0",
            "BUSINESS_GRPC_PORT": "0",
            "HEALTH_CHECK_PORT": "0",
            "METRICS_PORT": "0",
            "BIND_HOST": "127.0.0.1",
            "LOG_FORMAT": "json",
            **environ,
        },
    )
    instance = Instance(process)
    try:
        yield instance
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await instance.rest()
        await instance.stderr()


Start = Callable[..., Awaitable[Instance]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Start an instance that is ended with the test."""
    async with AsyncExitStack() as stack:

        async def start_one(*arguments: str, **options: Any) -> Instance:
            return await stack.enter_async_context(started(*arguments, **options))

        yield start_one


@pytest.fixture
def apps() -> Path:
    """The folder of the apps that the processes run."""
    return APPS
