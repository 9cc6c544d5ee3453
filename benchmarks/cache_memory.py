"""`CacheService.get` in this process beside cashews' memory backend; ours with namespace, ttl, metrics and kinds."""

from __future__ import annotations

from benchmarks.data.contender import OURS, RIVALS, Contender, compare, running
from benchmarks.rows import Row, at_least


def rows() -> list[Row]:
    """Gets per second, as a multiple of those of `cashews.Cache` on its memory backend.

    The backend's class alone, which no app calls, is printed beside it: it looks into a dict and does nothing else.
    """
    contenders = [
        Contender("eggycore", OURS, "cache_eggycore.py", ["memory://"]),
        Contender("cashews.Cache on mem://", RIVALS, "cache_cashews.py", ["facade"]),
        Contender("its backend's class alone", RIVALS, "cache_cashews.py", ["backend"]),
    ]
    with running(contenders):
        ours, cashews, _ = compare(contenders, "get-100", 1)
    return [at_least("cache in memory: get, times cashews on its memory backend", ours / cashews, 1.0)]
