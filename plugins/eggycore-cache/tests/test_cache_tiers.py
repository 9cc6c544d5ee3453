"""Two tiers, encryption, and both together: what every backend keeps to, and what is theirs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from importlib import import_module
from typing import Any

import pytest
from cryptography.fernet import Fernet

from eggycore.diagnostics import diagnose, render
from eggycore.testing import FakeClock
from eggycore_cache import CacheService
from eggycore_cache.backend import Backend
from eggycore_cache.encryption import EncryptedBackend
from eggycore_cache.errors import EncryptionKeyRefused, NotANumber, PackageMissing
from eggycore_cache.memory import MemoryBackend
from eggycore_cache.tiers import TieredBackend

conformance = import_module("plugins.eggycore-cache.tests.backend_conformance")

KEY, OTHER_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def memory(clock: FakeClock | None = None) -> MemoryBackend:
    if clock is None:
        return MemoryBackend(max_entries=10_000, max_bytes=10_000_000)
    return MemoryBackend(max_entries=10_000, max_bytes=10_000_000, clock=clock)


def tiered(remote: Backend, local_ttl: float = 0.02) -> TieredBackend:
    return TieredBackend(memory(), remote, local_ttl=local_ttl)


BACKENDS = {
    "tiers": lambda: tiered(memory()),
    "encryption": lambda: EncryptedBackend(memory(), KEY),
    "both": lambda: tiered(EncryptedBackend(memory(), KEY)),
}
KEPT = [
    pytest.param(name, check, id=f"{name}-{check.__name__}")
    for name in BACKENDS
    for check in (*conformance.CHECKS, *conformance.CLOSING_CHECKS)
    # What was set is encrypted, and no number for the server.
    if name == "tiers" or check is not conformance.numbers_count
]


@pytest.mark.parametrize(("name", "check"), KEPT)
async def test_they_do_what_every_backend_does(check: conformance.Check, name: str) -> None:
    await check(BACKENDS[name](), "t:")


class Slow(MemoryBackend):
    """A server whose answers wait until they are let through."""

    def __init__(self) -> None:
        super().__init__(max_entries=100, max_bytes=1_000_000)
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def get(self, key: str, *, timeout: float | None = None) -> bytes | None:
        value = await super().get(key)
        self.asked.set()
        await self.answer.wait()
        return value


async def test_a_copy_is_used_for_its_time_and_no_longer() -> None:
    clock, remote = FakeClock(), memory()
    tier = TieredBackend(memory(clock), remote, local_ttl=5)
    await remote.set("a", b"1", None)
    assert await tier.get("a") == b"1"
    await remote.set("a", b"2", None)
    clock.advance(4.9)
    assert (await tier.get("a"), await tier.get_many(["a"])) == (b"1", [b"1"])
    clock.advance(0.1)
    assert await tier.get("a") == b"2"


async def test_a_copy_ends_with_its_value_when_that_is_known() -> None:
    clock = FakeClock()
    tier = TieredBackend(memory(clock), memory(clock), local_ttl=5)
    await tier.set("a", b"1", 2)
    clock.advance(2)
    assert await tier.get("a") is None


async def test_what_this_process_changes_it_sees_at_once() -> None:
    tier = tiered(memory(), local_ttl=1000)
    for change in (tier.delete("a"), tier.delete_many(["a"]), tier.clear_prefix("")):
        await tier.set("a", b"1", None)
        assert await tier.get("a") == b"1"
        await change
        assert (await tier.get("a"), await tier.exists("a")) == (None, False)
    await tier.incr("n", 1, None)
    assert await tier.get("n") == b"1"
    await tier.incr("n", 1, None)
    assert await tier.get("n") == b"2"


async def test_a_value_that_was_read_before_a_delete_leaves_no_copy_after_it() -> None:
    remote = Slow()
    tier = tiered(remote, local_ttl=1000)
    await remote.set("a", b"old", None)
    reading = asyncio.create_task(tier.get("a"))
    await remote.asked.wait()
    await tier.delete("a")
    remote.answer.set()
    assert await reading == b"old"
    assert await tier.get("a") is None


async def test_a_value_that_was_read_while_another_was_written_leaves_no_copy() -> None:
    remote = Slow()
    tier = tiered(remote, local_ttl=1000)
    await remote.set("a", b"old", None)
    reading = asyncio.create_task(tier.get("a"))
    await remote.asked.wait()
    await tier.set("a", b"new", None)
    remote.answer.set()
    assert await reading == b"old"
    assert await tier.get("a") == b"new"


class SlowToChange(MemoryBackend):
    """A server that changes its values only once it is let, and is read meanwhile."""

    def __init__(self) -> None:
        super().__init__(max_entries=100, max_bytes=1_000_000)
        self.asked = asyncio.Event()
        self.change = asyncio.Event()

    async def _changes(self) -> None:
        self.asked.set()
        await self.change.wait()

    async def set_many(
        self, items: Mapping[str, bytes], ttl: float | None, *, timeout: float | None = None
    ) -> frozenset[str]:
        await self._changes()
        return await super().set_many(items, ttl)

    async def delete(self, key: str, *, timeout: float | None = None) -> bool:
        await self._changes()
        return await super().delete(key)

    async def incr(self, key: str, amount: int, ttl: float | None, *, timeout: float | None = None) -> int:
        await self._changes()
        return await super().incr(key, amount, ttl)


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (lambda tier: tier.set("a", b"9", None), b"9"),
        (lambda tier: tier.delete("a"), None),
        (lambda tier: tier.incr("a", 1, None), b"2"),
    ],
    ids=["set", "delete", "incr"],
)
async def test_a_copy_that_was_made_during_a_change_ends_with_it(
    change: Callable[[TieredBackend], Coroutine[Any, Any, object]], after: bytes | None
) -> None:
    remote = SlowToChange()
    tier = tiered(remote, local_ttl=1000)
    await remote.set("a", b"1", None)
    changing = asyncio.create_task(change(tier))
    await remote.asked.wait()
    assert await tier.get("a") == b"1"
    remote.change.set()
    await changing
    assert await tier.get("a") == after


async def test_a_value_too_large_for_copies_is_read_from_the_server() -> None:
    tier = TieredBackend(MemoryBackend(max_entries=10, max_bytes=10), memory(), local_ttl=1000)
    await tier.set("a", b"1" * 100, None)
    assert await tier.get("a") == b"1" * 100
    assert tier.local.entries == 0


async def test_values_on_the_server_are_encrypted_and_keys_are_not() -> None:
    remote = memory()
    backend = EncryptedBackend(remote, KEY)
    await backend.set("a", b"very secret", None)
    await backend.set_many({"b": b"very secret"}, None)
    await backend.add("c", b"very secret", None)
    assert b"secret" not in b"".join([await remote.get(key) or b"" for key in "abc"])
    assert await backend.get_many(["a", "b", "c"]) == [b"very secret"] * 3


async def test_keys_are_changed_without_losing_values() -> None:
    remote = memory()
    await EncryptedBackend(remote, KEY).set("a", b"1", None)
    both = EncryptedBackend(remote, f"{OTHER_KEY}, {KEY}")
    assert await both.get("a") == b"1"
    await both.set("b", b"2", None)
    assert await EncryptedBackend(remote, OTHER_KEY).get("b") == b"2"


async def test_a_value_that_no_key_decrypts_is_a_miss_and_counted() -> None:
    remote, unreadable = memory(), []
    backend = EncryptedBackend(remote, KEY, unreadable=lambda: unreadable.append(1))
    await EncryptedBackend(remote, OTHER_KEY).set("a", b"1", None)
    await remote.set("b", b"plain text", None)
    assert await backend.get_many(["a", "b", "none"]) == [None, None, None]
    assert len(unreadable) == 2


async def test_counting_what_was_set_encrypted_is_refused() -> None:
    cache = CacheService(EncryptedBackend(memory(), KEY))
    assert await cache.incr("n", 5) == 5
    assert await cache.get("n") == b"5"
    await cache.set("m", b"5")
    with pytest.raises(NotANumber):
        await cache.incr("m")


@pytest.mark.parametrize(
    ("keys", "which"),
    [("hunter2", ""), (f"{KEY},hunter2", "Key 2 of 2 in "), ("", ""), (f"{KEY}A", "")],
    ids=["no key", "one of two", "nothing", "too long"],  # the keys themselves differ in every process
)
def test_a_wrong_key_is_refused_without_being_shown(keys: str, which: str) -> None:
    with pytest.raises(EncryptionKeyRefused) as refused:
        EncryptedBackend(memory(), keys)
    assert render(diagnose(refused.value)) == (
        f"{which}CACHE_ENCRYPTION_KEY is not a Fernet key: 32 bytes in url-safe base64.\n"
        '  action: Make one: python -c "from cryptography.fernet import Fernet; '
        'print(Fernet.generate_key().decode())"; separate several by commas, the newest first.'
    )


def test_without_cryptography_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(PackageMissing) as missing:
        EncryptedBackend(memory(), KEY)
    assert render(diagnose(missing.value)) == (
        "CACHE_ENCRYPTION_KEY needs the package cryptography, which is not installed.\n"
        "  action: pip install 'eggycore-cache[encryption]'"
    )
