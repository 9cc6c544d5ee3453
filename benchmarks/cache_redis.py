"""`CacheService` over Redis beside redis-py's asyncio client."""

from __future__ import annotations

import os

from benchmarks.data.caches import beside_raw_client
from benchmarks.data.contender import OURS, Contender
from benchmarks.rows import Row

REDIS = os.environ.get("BENCHMARK_REDIS", "redis://127.0.0.1:6379/9")
"""A database whose keys "bench:forms:*" and "raw:forms:*" are nobody's; they expire after ten minutes."""


def rows() -> list[Row]:
    """Operations per second, as multiples of redis-py's."""
    ours = Contender("eggycore", OURS, "cache_eggycore.py", [REDIS])
    raw = Contender("redis-py", OURS, "cache_redis_py.py", [REDIS])
    return beside_raw_client("Redis", "redis-py", ours, [raw])
