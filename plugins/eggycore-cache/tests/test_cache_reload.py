"""A configuration that changes under an open cache: how its servers are reached, and what it keeps."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eggycore import Initializer, Runtime, hookimpl
from eggycore.config.sources import Layer
from eggycore.testing import running
from eggycore_cache import CacheService
from eggycore_cache.errors import ValueTooLarge
from tests.servers import Certificates, memcached_server, redis_server


async def test_a_rotated_password_in_the_url_is_used_from_the_reload_on(tmp_path: Path) -> None:
    with redis_server() as server:
        variables = tmp_path / ".env"
        server.execute("ACL", "SETUSER", "app", "on", ">old", "~*", "+@all")
        variables.write_text(f"CACHE_URL={server.dsn().replace('redis://', 'redis://app:old@')}\n")
        async with running(plugins=["cache"], folder=tmp_path) as service:
            cache = service.runtime.get(CacheService)
            assert await cache.set("rotated", b"1", strict=True)
            server.execute("ACL", "SETUSER", "app", "<old", ">new")
            variables.write_text(f"CACHE_URL={server.dsn().replace('redis://', 'redis://app:new@')}\n")
            assert (await service.runtime.reload()).outcome == "applied"
            server.execute("CLIENT", "KILL", "USER", "app")
            async with asyncio.timeout(10):
                while await cache.lookup("rotated") != b"1":
                    await asyncio.sleep(0.01)


async def test_another_cache_takes_a_restart(tmp_path: Path) -> None:
    variables = tmp_path / ".env"
    async with running(plugins=["cache"], folder=tmp_path) as service:
        variables.write_text("CACHE_URL=redis://127.0.0.1:1/0\n")
        result = await service.runtime.reload()
        assert result.outcome == "refused"
        assert str(result.error) == (
            "CACHE_URL names another cache than the one that is open. A reload changes user and password only; "
            "restart to use another cache."
        )


@pytest.mark.parametrize("kind", ["redis", "memcached"])
async def test_times_are_taken_over(tmp_path: Path, kind: str) -> None:
    """A server that does not answer any more is waited for as long as the reload has said."""
    begin = redis_server if kind == "redis" else memcached_server
    variables = tmp_path / ".env"
    with begin() as server:
        url = server.dsn()
        variables.write_text(f"CACHE_URL={url}\nCACHE_TIMEOUT=60s\n")
        async with running(plugins=["cache"], folder=tmp_path) as service:
            cache = service.runtime.get(CacheService)
            assert await cache.set("a", b"1", strict=True)
            variables.write_text(f"CACHE_URL={url}\nCACHE_TIMEOUT=50ms\nCACHE_CONNECT_TIMEOUT=70ms\n")
            result = await service.runtime.reload()
            assert set(result.changed) == {"CACHE_TIMEOUT", "CACHE_CONNECT_TIMEOUT"}
            server.pause()
            try:
                async with asyncio.timeout(10):
                    assert await cache.get("a") is None
            finally:
                server.resume()


async def test_a_smaller_bound_puts_values_out_at_once(tmp_path: Path) -> None:
    async with running(plugins=["cache"], folder=tmp_path) as service:
        cache = service.runtime.get(CacheService)
        for number in range(10):
            await cache.set(str(number), bytes(99))
        (tmp_path / ".env").write_text("CACHE_MAX_SIZE=300B\n")
        assert (await service.runtime.reload()).outcome == "applied"
        assert [await cache.get(str(number)) is not None for number in range(10)] == [False] * 7 + [True] * 3


@pytest.mark.parametrize("kind", ["redis", "memcached"])
async def test_another_authority_counts_for_new_connections(
    tmp_path: Path, certificates: Certificates, kind: str
) -> None:
    ca = tmp_path / "ca.pem"
    shutil.copyfile(certificates.authority, ca)
    begin = redis_server if kind == "redis" else memcached_server
    with begin(tls=certificates) as server:
        url = server.dsn()
        settings = f"CACHE_URL={url}\nCACHE_TLS=verify-full\nCACHE_TLS_CA={ca}\nCACHE_TIMEOUT=5s\n"
        (tmp_path / ".env").write_text(f"{settings}CACHE_CONNECT_TIMEOUT=5s\n")
        async with running(plugins=["cache"], folder=tmp_path) as service:
            cache = service.runtime.get(CacheService)
            assert await cache.set("a", b"1", strict=True)
            ca.write_text("half a certif")
            result = await service.runtime.reload()
            assert result.outcome == "refused"
            assert str(result.error).startswith(f"The file {ca} of CACHE_TLS_CA cannot be used. ")
            shutil.copyfile(certificates.other_authority, ca)
            assert set((await service.runtime.reload()).changed) == {"CACHE_TLS_CA"}
            assert await cache.get("a") == b"1", "open connections stay"
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(10):
                while "certificate" not in str((await cache.stats()).servers):
                    await cache.get("a")
                    await asyncio.sleep(0.01)


async def test_what_changes_before_it_opens_counts(tmp_path: Path) -> None:
    class Overlaid:
        @hookimpl
        def init_infra(self, runtime: Runtime) -> Initializer[None]:
            @asynccontextmanager
            async def opened() -> AsyncIterator[None]:
                layer = Layer("ConfigMap", {"CACHE_TTL": "7s", "CACHE_MAX_SIZE": "50B"})
                assert (await runtime.overlay("map", [layer])).outcome == "applied"
                yield

            return Initializer(name="map", open=opened)

    async with running(plugins=[Overlaid(), "cache"], folder=tmp_path) as service:
        cache = service.runtime.get(CacheService)
        assert cache.kind("forms").policy.ttl == 7
        with pytest.raises(ValueTooLarge):
            await cache.set("a", bytes(99))
