"""eggycore's cache, opened as an app opens it, with namespace, ttl, kinds and metrics: cache_eggycore.py URL"""

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle

from measured import KEYS, SIZES, TTL, Operation, check, missed, serve, value_of

from eggycore.config import Secret
from eggycore.metrics import Registry
from eggycore_cache import CacheInitializer, CachePolicy, CacheService, CacheSettings

MOST = 10 * len(KEYS)
"""Values of the kind that are kept: a bound that is there, and not met."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Mapping[str, Operation]]:
    settings = CacheSettings(url=Secret(url), namespace="bench", kinds=("forms",))
    kinds = {"forms": CachePolicy(max_entries=MOST)}
    opening = CacheInitializer(settings, policy=CachePolicy(ttl=TTL), kinds=kinds, metrics=Registry())
    async with opening.open() as cache:
        operations: dict[str, Operation] = {}
        for size in SIZES:
            await fill(cache, size)
            keys = cycle([f"forms:{size}-{key}" for key in KEYS])
            operations[f"get-{size}"] = partial(get, cache, keys)
            operations[f"set-{size}"] = partial(put, cache, keys, value_of(size))
        yield operations


async def fill(cache: CacheService, size: int) -> None:
    for key in KEYS:
        await cache.set(f"forms:{size}-{key}", value_of(size), strict=True)
    check(await cache.get(f"forms:{size}-{KEYS[0]}") == value_of(size), "it does not find what it has set")


async def get(cache: CacheService, keys: Iterator[str]) -> None:
    if await cache.get(next(keys)) is None:
        missed()


async def put(cache: CacheService, keys: Iterator[str], value: bytes) -> None:
    if not await cache.set(next(keys), value):
        missed()


serve(opened(sys.argv[1]), batch=100 if sys.argv[1].startswith("memory:") else 1)
