"""How every key that begins with a text is forgotten: SCAN and UNLINK, a batch at a time."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import TypeAlias

from hiredis import ReplyError

from eggycore_cache.backend import NO_ANSWER
from eggycore_cache.redis_link import Answer
from eggycore_cache.redis_protocol import Command, Redirection, prefix_pattern, redirection

__all__ = ["BATCH", "Ask", "Moved", "forget_prefix"]

BATCH = 1000
"""Keys that one SCAN looks at and one UNLINK names, about: some milliseconds of the server's time."""

Ask: TypeAlias = Callable[[Command], Future[Answer]]
"""Sends a command to one server."""

Moved: TypeAlias = Callable[[str, Redirection], None]
"""Is told that another node of the cluster has a key that was to be forgotten."""


async def forget_prefix(prefix: str, ask: Ask, moved: Moved | None) -> Answer:
    """Forget every key of one server that begins with this text.

    Args:
        prefix: The text.
        ask: Sends a command there.
        moved: For a node of a cluster, which takes one key in a command; None for a server that takes several.

    Returns:
        A list when it is done, else the first answer that is none, or is an error.
    """
    cursor: Answer = b"0"
    pattern = prefix_pattern(prefix)
    while True:
        page = await ask(("SCAN", cursor if isinstance(cursor, bytes) else b"0", "MATCH", pattern, "COUNT", BATCH))
        if not isinstance(page, list):
            return page
        cursor = page[0]
        found = page[1] if isinstance(page[1], list) else []
        failed = await _unlink([key for key in found if isinstance(key, bytes)], ask, moved)
        if failed is not None:
            return failed
        if cursor == b"0":
            return page


async def _unlink(keys: Sequence[bytes], ask: Ask, moved: Moved | None) -> Answer:
    """None when all are forgotten, else what came instead."""
    if not keys:
        return None
    commands: list[Command] = [("UNLINK", *keys)] if moved is None else [("UNLINK", key) for key in keys]
    answers = [await future for future in [ask(command) for command in commands]]
    failed: Answer = None
    for key, answer in zip(keys, answers, strict=False):
        where = redirection(str(answer)) if isinstance(answer, ReplyError) else None
        if where is not None and moved is not None:
            moved(key.decode(errors="replace"), where)
        elif answer is NO_ANSWER or isinstance(answer, ReplyError):
            failed = answer
    return failed
