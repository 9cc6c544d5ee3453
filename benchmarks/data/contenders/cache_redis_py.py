"""redis-py's asyncio client, with hiredis: cache_redis_py.py URL"""

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle

from measured import KEYS, SIZES, TTL, Operation, check, missed, serve, value_of
from redis.asyncio import Redis
from redis.utils import HIREDIS_AVAILABLE


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Mapping[str, Operation]]:
    check(HIREDIS_AVAILABLE, "hiredis is not installed")
    async with Redis.from_url(url) as client:

        async def get(keys: Iterator[str]) -> None:
            if await client.get(next(keys)) is None:
                missed()

        async def put(keys: Iterator[str], value: bytes) -> None:
            if not await client.set(next(keys), value, ex=TTL):
                missed()

        operations: dict[str, Operation] = {}
        for size in SIZES:
            names = [f"raw:forms:{size}-{key}" for key in KEYS]
            keys, value = cycle(names), value_of(size)
            for _ in names:
                await put(keys, value)
            check(await client.get(names[0]) == value, "it does not find what it has set")
            operations[f"get-{size}"] = partial(get, keys)
            operations[f"set-{size}"] = partial(put, keys, value)
        yield operations


serve(opened(sys.argv[1]))
