"""Redis backends for tests: opened and closed again, and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from eggycore_cache.redis_backend import RedisBackend
from eggycore_cache.targets import parse_url
from eggycore_cache.tls import Tls
from tests.servers import RedisServer

__all__ = ["backend_of", "deleting", "is_replicated", "says", "takes", "until_taken"]


@asynccontextmanager
async def backend_of(url: str, *, tls: Tls | None = None, **options: Any) -> AsyncIterator[RedisBackend]:
    """A backend, opened; impatient, unless told otherwise."""
    target = parse_url(url)
    backend = RedisBackend(replace(target, tls=tls) if tls else target, **{"timeout": 0.5, **options})
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def is_replicated(server: RedisServer) -> bool:
    """Whether a replica has everything that the server has confirmed so far."""
    info = server.execute("INFO", "replication")
    replica = info.get("slave0", {"state": "none"})
    return bool(replica["state"] == "online" and int(replica["offset"]) >= int(info["master_repl_offset"]))


async def says(call: Awaitable[object], wanted: object) -> bool:
    """Whether it does."""
    return bool(await call == wanted)


async def takes(backend: RedisBackend, key: str, value: bytes = b"1") -> bool:
    """Whether a set is confirmed."""
    return await backend.set(key, value, 60)


async def deleting(backend: RedisBackend, key: str) -> object:
    """A delete, as something that a task can be made of."""
    return await backend.delete(key)


async def until_taken(backend: RedisBackend, key: str) -> None:
    """Return once a set is confirmed; fail when none is in time."""
    async with asyncio.timeout(5):
        while not await takes(backend, key):
            await asyncio.sleep(0.01)
