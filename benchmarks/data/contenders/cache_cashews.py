"""cashews' cache in memory: cache_cashews.py"""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import cycle

from cashews import Cache
from cashews.backends.memory import Memory
from measured import KEYS, SIZES, TTL, Operation, check, missed, serve, value_of

MOST = 100_000
"""Values that it keeps, as eggycore does; its own default is 1000."""


@asynccontextmanager
async def opened(which: str) -> AsyncIterator[Mapping[str, Operation]]:
    cache = Cache() if which == "facade" else Memory(size=MOST)
    if isinstance(cache, Cache):
        cache.setup("mem://", size=MOST)
    await cache.init()
    size = SIZES[0]
    names = [f"bench:forms:{size}-{key}" for key in KEYS]
    for name in names:
        await cache.set(name, value_of(size), expire=TTL)
    keys = cycle(names)

    async def get() -> None:
        if await cache.get(next(keys)) is None:
            missed()

    check(await cache.get(names[0]) == value_of(size), "it does not find what it has set")
    yield {f"get-{size}": get}
    await cache.close()


serve(opened(sys.argv[1]), batch=100)
