"""What `eggycore doctor` and the health check say about the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from eggycore.diagnostics import diagnose
from eggycore.errors import CheckFailed
from eggycore.types import Finding
from eggycore_cache.errors import CacheDown

if TYPE_CHECKING:
    from eggycore_cache.service import CacheService
    from eggycore_cache.stats import CacheStats

__all__ = ["check", "findings"]


async def check(cache: CacheService) -> None:
    """The health check: return when the cache answers.

    Raises:
        CheckFailed: A server does not answer; certain once it has failed so often that it is left alone.
    """
    try:
        await cache.ping()
    except CacheDown as down:
        left_alone = any(server.state != "closed" for server in (await cache.stats()).servers)
        raise CheckFailed(diagnose(down).cause.rstrip("."), certain=left_alone) from None


def findings(kind: str, stats: CacheStats, down: CacheDown | None, replicas: int) -> Iterator[Finding]:
    """A row for each server, or one for the memory of this process.

    Args:
        kind: That of the backend.
        stats: What it says of itself.
        down: What has just failed to answer, if anything.
        replicas: How many processes run at once.
    """
    if kind == "memory":
        yield _in_memory(replicas)
    if down is not None:
        action = diagnose(down).action.replace(": eggycore doctor", ".")  # that is who says it
        yield _silent(down.server, down.reason, action)
    for server in stats.servers:
        if down is not None and server.server == down.server:
            continue
        if server.state != "closed":
            yield _silent(server.server, server.reason, server.action or "Look at the server and at CACHE_URL.")
        elif server.action:
            text = f"it answers, but not everything: {server.reason}"
            yield Finding(subject=f"cache {server.server}", state="warning", text=text, action=server.action)
        else:
            yield Finding(subject=f"cache {server.server}", state="ok", text="it answers")


def _silent(server: str, reason: str, action: str) -> Finding:
    text = f"it does not answer ({reason or 'no reason known'}); until it does, the app works without it, only slower"
    return Finding(subject=f"cache {server}".rstrip(), state="warning", text=text, action=action)


def _in_memory(replicas: int) -> Finding:
    if replicas == 1:
        return Finding(subject="cache", state="ok", text="values are kept in this process")
    return Finding(
        subject="cache",
        state="warning",
        text=f"each of {replicas} replicas has a cache of its own: one may still hold what another has changed",
        action="Name a server that they share in CACHE_URL, or keep times short.",
    )
