"""`RedisBackend` behind sentinels: the primary is found, and found again."""

from __future__ import annotations

from importlib import import_module

from eggycore_cache.backend import NO_ANSWER
from tests.servers import RedisSentinels, redis_sentinels

conformance = import_module("plugins.eggycore-cache.tests.backend_conformance")
backends = import_module("plugins.eggycore-cache.tests.redis_backends")
backend_of, takes, until = backends.backend_of, backends.takes, conformance.until

PATIENCE = 20.0
"""Seconds in which a replica has taken over."""


async def test_a_replica_takes_over_with_what_was_written_before() -> None:
    with redis_sentinels(password="s3cret/@") as group:
        hosts = ",".join(sentinel.address for sentinel in group.sentinels)
        async with backend_of(f"redis+sentinel://:s3cret%2F%40@{hosts}/{group.service}/0") as backend:
            assert await takes(backend, "a", b"before")
            assert await takes(backend, "deleted", b"before")
            await until(lambda: backends.is_replicated(group.primary), PATIENCE)
            group.primary.kill()
            assert await backend.get("a") is NO_ANSWER
            assert await backend.delete("deleted") is NO_ANSWER
            seen: set[object] = set()

            async def answered() -> bool:
                seen.update(await backend.get_many(["deleted"]))
                return await takes(backend, "b")

            await until(answered, PATIENCE)
            assert seen <= {None, NO_ANSWER}
            assert await backend.get_many(["a", "b", "deleted"]) == [b"before", b"1", None]
            assert [server.server for server in (await backend.stats()).servers] == [group.service]


async def test_a_planned_fail_over_and_a_dead_sentinel_are_got_over() -> None:
    with redis_sentinels() as group:
        hosts = ",".join(sentinel.address for sentinel in group.sentinels)
        async with backend_of(f"redis+sentinel://{hosts}/{group.service}/0") as backend:
            assert await takes(backend, "a", b"before")
            await until(lambda: backends.is_replicated(group.primary), PATIENCE)
            group.sentinels[0].kill()
            group.sentinels[1].execute("SENTINEL", "FAILOVER", group.service)

            async def moved() -> bool:
                return (
                    group.current_primary()[1] != group.primary.port and await takes(backend, "b") and has(group, "b")
                )

            await until(moved, PATIENCE)
            assert await backend.get("a") == b"before"


def has(group: RedisSentinels, key: str) -> bool:
    """Whether the new primary has it: what the old one confirms in its last moments is lost."""
    port = group.current_primary()[1]
    server = next(server for server in [group.primary, *group.replicas] if server.port == port)
    return bool(int(server.execute("EXISTS", key)))
