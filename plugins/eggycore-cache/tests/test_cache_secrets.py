"""Passwords and keys are in nothing that is shown: reprs, log lines, health, metrics, what the doctor says, errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet

from eggycore.config import read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.testing import running
from eggycore_cache import CacheDown, CacheService, CacheSettings, close, connect
from tests.servers import redis_server

KEY = Fernet.generate_key().decode()
PASSWORD = "hunter2-of-the-cache"
OTHER = "hunter3-of-the-sentinels"


def parts(root: object) -> Iterator[object]:
    """An object of this package and all that it is made of."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict | list | tuple | set | frozenset):
            waiting += [*part, *(part.values() if isinstance(part, dict) else ())]
        elif type(part).__module__.startswith("eggycore_cache"):
            yield part
            waiting += vars(part).values() if hasattr(part, "__dict__") else ()


@pytest.mark.parametrize(
    "settings",
    [
        {"CACHE_URL": f"redis://app:{PASSWORD}@127.0.0.1:1"},
        {"CACHE_URL": f"redis://app:{PASSWORD}@127.0.0.1:1/0?cluster=true"},
        {"CACHE_URL": f"redis+sentinel://app:{PASSWORD}@127.0.0.1:1/group/0?sentinel_password={OTHER}"},
        {"CACHE_URL": "memcached://127.0.0.1:1", "CACHE_USER": "app", "CACHE_PASSWORD": PASSWORD},
    ],
    ids=["redis", "cluster", "sentinel", "memcached"],
)
async def test_nothing_of_a_cache_shows_them(settings: dict[str, str]) -> None:
    read = read_from_env(CacheSettings, {**settings, "CACHE_ENCRYPTION_KEY": KEY, "CACHE_LOCAL": "true"})
    cache = await connect(read)
    for _ in range(4):
        await cache.get_or_set("a", lambda: 1)
    with pytest.raises(CacheDown) as down:
        await cache.ping()
    shown: list[Any] = [read, read.target, *parts(cache), *await cache.examine(replicas=2), await cache.stats()]
    text = "\n".join(
        [render(diagnose(down.value)), repr(down.value), str(down.value), *map(repr, shown), *map(str, shown)]
    )
    assert len(shown) > 15
    assert [secret for secret in (PASSWORD, OTHER, KEY) if secret in text] == []
    await close()


async def test_nothing_of_a_running_service_shows_them(capfd: pytest.CaptureFixture[str]) -> None:
    with redis_server(password="another") as server:
        settings = {
            "CACHE_URL": f"redis://:{PASSWORD}@{server.address}",
            "CACHE_ENCRYPTION_KEY": KEY,
            "LOG_LEVEL": "debug",
        }
        async with running(plugins=["cache"], settings=settings) as service:
            for _ in range(5):
                assert await service.runtime.get(CacheService).get("a") is None
            async with service.health.get("/readyz?verbose") as response:
                health = await response.text()
            metrics = repr(list(service.runtime.metrics.collect()))
    written = capfd.readouterr()
    text = health + metrics + written.out + written.err
    assert "cache" in text
    assert [secret for secret in (PASSWORD, KEY) if secret in text] == []
