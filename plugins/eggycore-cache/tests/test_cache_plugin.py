"""The plugin in a real runtime: opened at start, given to handlers, checked and measured."""

from __future__ import annotations

import pytest
from aiohttp.web import Request, Response

from eggycore import Runtime, hookimpl
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.testing import running
from eggycore_cache import CacheInitializer, CacheService, default_config


class App:
    """An app that answers from the cache the second time."""

    @hookimpl
    def register_services(self, runtime: Runtime) -> None:
        async def answer(request: Request, cache: CacheService) -> Response:
            if (known := await cache.get("answer")) is not None:
                return Response(body=known)
            await cache.set("answer", b"cached")
            return Response(body=b"computed")

        runtime.http.get("/", answer)


async def test_a_handler_finds_what_an_earlier_request_has_cached() -> None:
    async with running(App(), plugins=["cache"]) as service:
        for expected in ("computed", "cached"):
            async with service.http.get("/") as response:
                assert await response.text() == expected
        async with service.health.get("/healthz") as response:
            assert (await response.json())["checks"]["cache"] == "OK"
        found = {
            (family.name, *sample.labels): sample.value
            for family in service.runtime.metrics.collect()
            for sample in family.samples
        }
        assert found["cache_requests_total", "default", "hit"] == 1
        assert found["cache_requests_total", "default", "miss"] == 1
        assert found["cache_entries", "default"] == 1


async def test_a_cache_server_is_refused_before_anything_opens() -> None:
    with pytest.raises(ConfigError) as refused:
        async with running(App(), plugins=["cache"], settings={"CACHE_URL": "redis://:hunter2@r:6379"}):
            pass
    text = render(diagnose(refused.value))
    assert "CACHE_URL: names a Redis server" in text
    assert "declared by plugin cache" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(("pod", "lines"), [("10.0.0.1", 1), ("", 0)])
async def test_in_kubernetes_the_log_says_that_every_replica_has_its_own(
    monkeypatch: pytest.MonkeyPatch, pod: str, lines: int
) -> None:
    said: list[str] = []
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", pod)
    monkeypatch.setattr("eggycore.log.info", said.append)
    async with CacheInitializer(default_config()).open() as cache:
        await cache.set("a", b"1")
    note = "cache in memory: every replica has its own, so one may still hold what another has changed"
    assert said == [note] * lines
