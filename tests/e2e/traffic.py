"""Clients that keep their connections, send requests without a pause, and remember every answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Address = tuple[str, int]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

PAUSE_AFTER_FAILURE = 0.02
"""Seconds: a server that refuses at once is not to be asked as fast as it can say so."""


@dataclass
class Answers:
    """What clients got.

    Attributes:
        statuses: How often each status came.
        broken: What happened to requests that got no answer.
        written: The ids that answers to POST with 200 or 201 told.
        slowest: Seconds that the slowest answer took.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    slowest: float = 0.0


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    """Status, whether the connection stays open, and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
    return int(head.split(b" ", 2)[1]), headers.get(b"connection") != b"close", body


def request(method: str, path: str, body: Any = None) -> bytes:
    """The bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    kind = "" if body is None else "Content-Type: application/json\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{kind}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def ask(address: Address, method: str, path: str) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request(method, path))
        status, _, body = await read_answer(reader)
        return status, body
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def client(
    pick: Callable[[], Address], next_request: Callable[[], bytes], answers: Answers, over: asyncio.Event
) -> None:
    """One connection at a time, kept as long as the server lets it and `pick` names it."""
    address: Address | None = None
    streams: Streams | None = None
    while not over.is_set():
        began = time.monotonic()
        sent = next_request()
        try:
            if streams is None or pick() != address:
                if streams is not None:
                    streams[1].close()
                address = pick()
                streams = await asyncio.open_connection(*address)
            streams[1].write(sent)
            status, stays, body = await read_answer(streams[0])
        except (OSError, asyncio.IncompleteReadError) as error:
            answers.broken.append(f"{type(error).__name__}: {error}")
            streams = None
            continue
        answers.slowest = max(answers.slowest, time.monotonic() - began)
        answers.statuses[status] += 1
        if status in (200, 201) and sent.startswith(b"POST"):
            answers.written.append(json.loads(body)["id"])
        if not stays:
            streams[1].close()
            streams = None
        if status >= 500:
            await asyncio.sleep(PAUSE_AFTER_FAILURE)
    if streams is not None:
        streams[1].close()
        with suppress(OSError):
            await streams[1].wait_closed()


@asynccontextmanager
async def load(
    picks: Sequence[Callable[[], Address]], next_request: Callable[[], bytes], answers: Answers
) -> AsyncIterator[None]:
    """A client for each of `picks` while the block lasts."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as clients:
        for pick in picks:
            clients.create_task(client(pick, next_request, answers, over))
        try:
            yield
        finally:
            over.set()
