"""What `eggycore doctor` says about the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from eggycore.diagnostics import diagnose
from eggycore.types import Finding

if TYPE_CHECKING:
    from eggycore_cache.errors import CacheDown
    from eggycore_cache.stats import CacheStats

__all__ = ["findings"]


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
        yield _silent(down.server, down.reason, diagnose(down).action)
    for server in stats.servers:
        if down is not None and server.server == down.server:
            continue
        if server.state == "closed":
            yield Finding(subject=f"cache {server.server}", state="ok", text="it answers")
        else:
            yield _silent(server.server, server.reason, "Look at the server and at CACHE_URL.")


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
