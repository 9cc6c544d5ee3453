"""pymemcache in threads: cache_pymemcache.py HOST PORT THREADS"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle

from measured import KEYS, SIZES, TTL, Operation, check, missed, serve, value_of
from pymemcache.client.base import PooledClient


@asynccontextmanager
async def opened(host: str, port: int, threads: int) -> AsyncIterator[Mapping[str, Operation]]:
    client = PooledClient((host, port), max_pool_size=threads, no_delay=True, key_prefix=b"raw:", default_noreply=False)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(threads) as executor:

        async def get(keys: Iterator[str]) -> None:
            if await loop.run_in_executor(executor, client.get, next(keys)) is None:
                missed()

        async def put(keys: Iterator[str], value: bytes) -> None:
            if not await loop.run_in_executor(executor, client.set, next(keys), value, TTL):
                missed()

        operations: dict[str, Operation] = {}
        for size in SIZES:
            names = [f"forms:{size}-{key}" for key in KEYS]
            keys, value = cycle(names), value_of(size)
            for _ in names:
                await put(keys, value)
            check(client.get(names[0]) == value, "it does not find what it has set")
            operations[f"get-{size}"] = partial(get, keys)
            operations[f"set-{size}"] = partial(put, keys, value)
        yield operations
    client.close()


serve(opened(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
