"""What every backend keeps to, as functions that take one: parametrize with `CHECKS`, `await check(backend, prefix)`.

`prefix` is text that no other test puts before its keys, with a ":" at its end, for example "t-5f3a:".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from eggycore_cache.backend import NO_ANSWER, Backend
from eggycore_cache.errors import CacheClosed, NotANumber

__all__ = ["CHECKS", "CLOSING_CHECKS", "Check", "until"]

Check: TypeAlias = Callable[[Backend, str], Awaitable[None]]

PATIENCE = 5.0
"""Seconds in which a value with a short time to live is gone, whatever a server counts in."""


async def until(condition: Callable[[], Awaitable[bool]], patience: float = PATIENCE) -> None:
    """Return once the condition holds; fail when it does not in time."""
    async with asyncio.timeout(patience):
        while not await condition():
            await asyncio.sleep(0.01)


async def a_value_is_there_until_it_is_deleted(backend: Backend, prefix: str) -> None:
    key = f"{prefix}a"
    assert await backend.get(key) is None
    assert await backend.exists(key) is False
    assert await backend.set(key, b"1", 60) is True
    assert (await backend.get(key), await backend.exists(key)) == (b"1", True)
    assert await backend.set(key, b"2", None) is True
    assert await backend.get(key) == b"2"
    assert await backend.delete(key) is True
    assert await backend.delete(key) is False
    assert (await backend.get(key), await backend.exists(key)) == (None, False)


async def values_are_any_bytes(backend: Backend, prefix: str) -> None:
    for value in (b"", b"\r\n", b"END\r\n", b"$-1\r\n", b"\0" * 100, bytes(range(256)) * 40, b"x" * 500_000):
        assert await backend.set(f"{prefix}a", value, 60) is True
        assert await backend.get(f"{prefix}a") == value


async def keys_are_long_and_of_any_script(backend: Backend, prefix: str) -> None:
    keys = [f"{prefix}{name}" for name in ("k" * 1000, "k" * 1001, "k" * 250, "форма:7", "形", "a*b?[c]\\", "%20", "=")]
    for number, key in enumerate(keys):
        assert await backend.set(key, b"%d" % number, 60) is True
    assert await backend.get_many(keys) == [b"%d" % number for number in range(len(keys))]
    for key in keys:
        assert await backend.exists(key) is True
        assert await backend.delete(key) is True


async def a_value_expires(backend: Backend, prefix: str) -> None:
    await backend.set(f"{prefix}short", b"1", 0.05)
    await backend.set(f"{prefix}long", b"1", 3600)
    await backend.set(f"{prefix}month", b"1", 40 * 86400)
    await backend.set(f"{prefix}for-ever", b"1", None)

    async def short_is_gone() -> bool:
        return await backend.get(f"{prefix}short") is None

    await until(short_is_gone)
    assert [await backend.exists(f"{prefix}{key}") for key in ("long", "month", "for-ever")] == [True, True, True]


async def touching_gives_another_time(backend: Backend, prefix: str) -> None:
    assert await backend.touch(f"{prefix}a", 60) is False
    await backend.set(f"{prefix}a", b"1", 60)
    await backend.set(f"{prefix}b", b"1", 0.3)
    assert await backend.touch(f"{prefix}a", 0.05) is True
    assert await backend.touch(f"{prefix}b", None) is True

    async def a_is_gone() -> bool:
        return not await backend.exists(f"{prefix}a")

    await until(a_is_gone)
    await backend.set(f"{prefix}c", b"1", 0.3)

    async def c_is_gone() -> bool:
        return not await backend.exists(f"{prefix}c")

    await until(c_is_gone)
    assert await backend.get(f"{prefix}b") == b"1"


async def several_at_once(backend: Backend, prefix: str) -> None:
    items = {f"{prefix}{number}": b"%d" % number for number in range(100)}
    assert await backend.set_many(items, 60) == frozenset()
    asked = [*items, f"{prefix}none", f"{prefix}5"]
    assert await backend.get_many(asked) == [*items.values(), None, b"5"]
    assert await backend.delete_many([f"{prefix}1", f"{prefix}2", f"{prefix}none"]) == 2
    assert await backend.get_many([f"{prefix}{number}" for number in range(4)]) == [b"0", None, None, b"3"]
    assert await backend.get_many([]) == []
    assert await backend.set_many({}, 60) == frozenset()
    assert await backend.delete_many([]) == 0


async def adding_keeps_what_is_there(backend: Backend, prefix: str) -> None:
    assert await backend.add(f"{prefix}a", b"1", 60) is True
    assert await backend.add(f"{prefix}a", b"2", 60) is False
    assert await backend.get(f"{prefix}a") == b"1"
    await backend.delete(f"{prefix}a")
    assert await backend.add(f"{prefix}a", b"3", None) is True
    assert await backend.get(f"{prefix}a") == b"3"


async def of_many_that_add_one_wins(backend: Backend, prefix: str) -> None:
    added = await asyncio.gather(*(backend.add(f"{prefix}a", b"%d" % number, 60) for number in range(50)))
    assert sorted(map(bool, added)) == [False] * 49 + [True]
    assert await backend.get(f"{prefix}a") == b"%d" % added.index(True)


async def numbers_count(backend: Backend, prefix: str) -> None:
    key = f"{prefix}n"
    assert await backend.incr(key, 5, 60) == 5
    assert await backend.incr(key, 7, 60) == 12
    assert await backend.incr(key, -3, 60) == 9
    assert int(await backend.get(key) or b"") == 9
    assert await backend.incr(key, 0, 60) == 9
    assert await backend.incr(key, -100, 60) == 0
    assert await backend.incr(key, 1, 60) == 1
    assert await backend.incr(f"{prefix}negative", -1, 60) == 0
    await backend.set(key, b"41", 60)
    assert await backend.incr(key, 1, None) == 42
    await asyncio.gather(*(backend.incr(key, 1, 60) for _ in range(100)))
    assert await backend.incr(key, 0, 60) == 142


async def counting_leaves_the_time_to_live(backend: Backend, prefix: str) -> None:
    await backend.incr(f"{prefix}n", 1, 0.2)
    await backend.incr(f"{prefix}n", 1, 3600)

    async def gone() -> bool:
        return not await backend.exists(f"{prefix}n")

    await until(gone)


async def what_is_no_number_is_not_counted(backend: Backend, prefix: str) -> None:
    for value in (b"abc", b"", b"1.5", b"-"):
        await backend.set(f"{prefix}n", value, 60)
        with pytest.raises(NotANumber):
            await backend.incr(f"{prefix}n", 1, 60)
        assert await backend.get(f"{prefix}n") == value


async def a_prefix_is_cleared_and_no_other(backend: Backend, prefix: str) -> None:
    kept = [f"{prefix}{name}" for name in ("users:1", "use", "User:1", "a*b", "aXb:2")]
    cleared = [f"{prefix}{name}" for name in ("user:", "user:1", "user:2:3", "user:" + "k" * 300, "user:й")]
    for key in (*kept, *cleared):
        await backend.set(key, b"1", 60)
    assert await backend.clear_prefix(f"{prefix}user:") is True
    assert await backend.get_many(cleared) == [None] * len(cleared)
    assert await backend.get_many(kept) == [b"1"] * len(kept)
    await backend.set(f"{prefix}user:1", b"2", 60)
    assert await backend.get(f"{prefix}user:1") == b"2"


async def signs_of_patterns_mean_themselves(backend: Backend, prefix: str) -> None:
    for sign in ("*", "?", "[a-z]", "\\", "^"):
        await backend.set(f"{prefix}a{sign}:1", b"1", 60)
        await backend.set(f"{prefix}ab:1", b"2", 60)
        assert await backend.clear_prefix(f"{prefix}a{sign}") is True
        assert await backend.get(f"{prefix}a{sign}:1") is None
        assert await backend.get(f"{prefix}ab:1") == b"2"


async def clearing_again_and_again_works(backend: Backend, prefix: str) -> None:
    for number in range(100):
        await backend.set(f"{prefix}a:{number}", b"1", 60)
        await backend.set(f"{prefix}b", b"%d" % number, 60)
        assert await backend.clear_prefix(f"{prefix}a:") is True
        assert await backend.get(f"{prefix}a:{number}") is None
    await backend.set(f"{prefix}a:1", b"1", 60)
    assert await backend.get(f"{prefix}a:1") == b"1"


async def what_was_cleared_is_gone_for_every_operation(backend: Backend, prefix: str) -> None:
    async def written_and_cleared() -> str:
        await backend.set(f"{prefix}a", b"5", 60)
        await backend.clear_prefix(prefix)
        return f"{prefix}a"

    assert await backend.exists(await written_and_cleared()) is False
    assert await backend.delete(await written_and_cleared()) is False
    assert await backend.touch(await written_and_cleared(), 60) is False
    assert await backend.get(f"{prefix}a") is None
    assert await backend.add(await written_and_cleared(), b"6", 60) is True
    assert await backend.get(f"{prefix}a") == b"6"
    assert await backend.incr(await written_and_cleared(), 1, 60) == 1
    assert await backend.delete_many([await written_and_cleared()]) == 0


async def many_callers_get_their_own_answers(backend: Backend, prefix: str) -> None:
    async def work(worker: int) -> None:
        for turn in range(20):
            key, value = f"{prefix}{worker}", b"%d-%d" % (worker, turn) * (1 + turn * 10)
            assert await backend.set(key, value, 60) is True
            assert await backend.get(key) == value
            assert await backend.get_many([f"{prefix}none", key]) == [None, value]

    await asyncio.gather(*(work(worker) for worker in range(40)))


async def callers_that_give_up_take_nobody_s_answer(backend: Backend, prefix: str) -> None:
    for number in range(100):
        await backend.set(f"{prefix}{number}", b"%d" % number, 60)
    tasks = [asyncio.create_task(_read(backend, f"{prefix}{number}")) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for number, answer in enumerate(answers):
        assert answer == b"%d" % number or (number % 3 == 0 and isinstance(answer, asyncio.CancelledError))
    assert await backend.get(f"{prefix}7") == b"7"


async def _read(backend: Backend, key: str) -> object:
    return await backend.get(key)


async def it_says_that_it_is_there(backend: Backend, prefix: str) -> None:
    await backend.open()
    await backend.ping()
    assert backend.available is True
    assert not NO_ANSWER
    await backend.set(f"{prefix}a", b"1", 60)
    stats = await backend.stats()
    assert all(server.state == "closed" for server in stats.servers)
    assert stats.entries is None or stats.entries >= 1


async def closed_is_closed(backend: Backend, prefix: str) -> None:
    await backend.set(f"{prefix}a", b"1", 1)
    await backend.close()
    await backend.close()
    for operation in (
        backend.get(f"{prefix}a"),
        backend.get_many([f"{prefix}a"]),
        backend.set(f"{prefix}a", b"1", 1),
        backend.add(f"{prefix}a", b"1", 1),
        backend.incr(f"{prefix}a", 1, 1),
        backend.touch(f"{prefix}a", 1),
        backend.delete(f"{prefix}a"),
        backend.exists(f"{prefix}a"),
        backend.clear_prefix(prefix),
        backend.ping(),
    ):
        with pytest.raises(CacheClosed):
            await operation


CHECKS: tuple[Check, ...] = (
    a_value_is_there_until_it_is_deleted,
    values_are_any_bytes,
    keys_are_long_and_of_any_script,
    a_value_expires,
    touching_gives_another_time,
    several_at_once,
    adding_keeps_what_is_there,
    of_many_that_add_one_wins,
    numbers_count,
    counting_leaves_the_time_to_live,
    what_is_no_number_is_not_counted,
    a_prefix_is_cleared_and_no_other,
    signs_of_patterns_mean_themselves,
    clearing_again_and_again_works,
    what_was_cleared_is_gone_for_every_operation,
    many_callers_get_their_own_answers,
    callers_that_give_up_take_nobody_s_answer,
    it_says_that_it_is_there,
)
"""Each leaves the backend usable; keys that it writes have a time to live or stay under the prefix."""

CLOSING_CHECKS: tuple[Check, ...] = (closed_is_closed,)
"""Each closes the backend."""
