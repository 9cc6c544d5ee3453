"""CACHE_*: defaults, and what is refused before anything opens."""

from __future__ import annotations

import pytest

from eggycore.config import read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore_cache import CacheSettings, connect, default_config


def report(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        read_from_env(CacheSettings, environ)
    return render(diagnose(refused.value))


def test_the_defaults_keep_values_in_memory_without_an_end() -> None:
    settings = read_from_env(CacheSettings, {})
    assert settings == default_config()
    assert (settings.url.reveal(), settings.ttl, settings.namespace) == ("memory://", None, "")
    assert (settings.max_entries, settings.max_size) == (100_000, 64_000_000)


async def test_a_cache_follows_its_settings() -> None:
    environ = {"CACHE_TTL": "10m", "CACHE_NAMESPACE": "forms", "CACHE_MAX_ENTRIES": "1", "CACHE_MAX_SIZE": "1KB"}
    cache = await connect(read_from_env(CacheSettings, environ))
    await cache.set("a", b"1")
    await cache.set("b", b"1")
    assert [await cache.exists(key) for key in "ab"] == [False, True]
    await cache.close()


ONLY_MEMORY = "names a {} server, and this version of eggycore-cache keeps values in memory only"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "redis://:hunter2@r:6379",
            ONLY_MEMORY.format("Redis"),
        ),
        ("rediss://:hunter2@r", ONLY_MEMORY.format("Redis")),
        (
            "memcached://m1:11211",
            ONLY_MEMORY.format("Memcached"),
        ),
        ("memroy://", "names a kind of cache that is not known, perhaps a misspelt memory://"),
        ("hunter2://", "names a kind of cache that is not known"),
        ("hunter2", "not a URL"),
        ("memory://hunter2", "has something after memory://, which takes nothing"),
    ],
)
def test_another_cache_is_refused_without_showing_a_password(url: str, reason: str) -> None:
    text = report({"CACHE_URL": url})
    assert f"CACHE_URL: {reason}." in text
    assert "action: Use memory://, which keeps values in this process." in text
    assert "hunter2" not in text


def test_a_time_to_live_of_0_is_refused() -> None:
    text = report({"CACHE_TTL": "0s"})
    assert "CACHE_TTL '0s': keeps nothing." in text
    assert "action: Leave it out to keep values without an end, or give a time above 0." in text


def test_a_namespace_with_other_characters_is_refused() -> None:
    text = report({"CACHE_NAMESPACE": "my app"})
    assert "CACHE_NAMESPACE 'my app': not made of at most 64 letters, digits, dots, underscores and hyphens." in text
    assert "action: Choose a short name, for example that of the app." in text
