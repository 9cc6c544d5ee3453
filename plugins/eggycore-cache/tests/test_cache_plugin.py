"""The plugin in a real runtime: opened at start, given to handlers, checked, measured, reloaded, warmed up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.web import Request, Response
from cryptography.fernet import Fernet

from eggycore import CheckFailed, Runtime, Secret, hookimpl, log
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.testing import running
from eggycore_cache import (
    CacheInitializer,
    CacheService,
    CacheSettings,
    cached,
    default_config,
    get_cache,
    get_client,
    warm_up,
)
from eggycore_cache import warm_up as warm_up_decorator
from eggycore_cache.examination import check
from eggycore_cache.tiers import TieredBackend
from eggycore_cache.warm_up import functions
from tests.servers import redis_server


class App:
    """An app that answers from the cache the second time."""

    @hookimpl
    def register_services(self, runtime: Runtime) -> None:
        async def answer(request: Request, cache: CacheService) -> Response:
            if (known := await cache.get("answer")) is not None:
                return Response(body=known)
            await cache.set("answer", b"cached")
            return Response(body=b"computed")

        @cached(key="word:{word}")
        async def shout(word: str) -> str:
            return word.upper()

        async def shouted(request: Request) -> Response:
            return Response(text=await shout(request.match_info["word"]))

        async def strictly(request: Request, cache: CacheService) -> Response:
            return Response(body=await cache.get("answer", strict=True))

        runtime.http.get("/", answer)
        runtime.http.get("/shout/{word}", shouted)
        runtime.http.get("/strict", strictly)


def counted(runtime: Runtime) -> dict[tuple[str, ...], float]:
    return {
        (family.name, *sample.labels): sample.value for family in runtime.metrics.collect() for sample in family.samples
    }


async def test_a_handler_finds_what_an_earlier_request_has_cached() -> None:
    async with running(App(), plugins=["cache"]) as service:
        for expected in ("computed", "cached"):
            async with service.http.get("/") as response:
                assert await response.text() == expected
        async with service.health.get("/healthz") as response:
            assert (await response.json())["checks"]["cache"] == "OK"
        found = counted(service.runtime)
        assert found["cache_requests_total", "default", "hit"] == 1
        assert found["cache_requests_total", "default", "miss"] == 1
        assert found["cache_entries", "default"] == 1


async def test_cached_functions_use_the_runtime_s_cache() -> None:
    async with running(App(), plugins=["cache"]) as service:
        for _ in range(2):
            async with service.http.get("/shout/egg") as response:
                assert await response.text() == "EGG"
        assert get_cache() is service.runtime.get(CacheService)
        assert await service.runtime.get(CacheService).exists("word:egg")


@pytest.mark.parametrize("local", ["true", "false"])
async def test_the_same_app_runs_on_redis(redis_url: str, redis_prefix: str, local: str) -> None:
    settings = {"REDIS_URL": redis_url, "CACHE_NAMESPACE": redis_prefix.rstrip(":"), "CACHE_LOCAL": local}
    async with running(App(), plugins=["cache"], settings=settings) as service:
        cache = service.runtime.get(CacheService)
        for expected in ("computed", "cached"):
            async with service.http.get("/") as response:
                assert await response.text() == expected
        assert isinstance(cache.backend, TieredBackend) is (local == "true")
        result = "local_hit" if local == "true" else "hit"
        assert counted(service.runtime)["cache_requests_total", settings["CACHE_NAMESPACE"], result] == 1
        assert await cache.clear_prefix("") is True


@pytest.mark.parametrize("encrypted", [True, False])
async def test_the_same_app_runs_on_memcached(memcached_address: str, encrypted: bool) -> None:
    settings = {"CACHE_SERVERS": memcached_address, "CACHE_NAMESPACE": "plugin"}
    if encrypted:
        settings["CACHE_ENCRYPTION_KEY"] = Fernet.generate_key().decode()
    async with running(App(), plugins=["cache"], settings=settings) as service:
        await service.runtime.get(CacheService).clear_prefix("")
        for expected in ("computed", "cached"):
            async with service.http.get("/") as response:
                assert await response.text() == expected


async def test_without_its_server_the_app_starts_and_serves_and_only_who_asks_gets_503() -> None:
    settings = {"CACHE_URL": "redis://:hunter2@127.0.0.1:1"}
    async with running(App(), plugins=["cache"], settings=settings) as service:
        for _ in range(2):
            async with service.http.get("/") as response:
                assert (response.status, await response.text()) == (200, "computed")
        async with service.http.get("/strict") as response:
            assert response.status == 503
            assert (await response.json())["detail"] == "The cache does not answer."
        async with service.health.get("/readyz") as response:
            assert response.status == 200


async def test_a_server_that_does_not_answer_at_start_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr("eggycore.log.warn", lambda message, **fields: said.append((message, fields)))
    async with CacheInitializer(CacheSettings(url=Secret("redis://:hunter2@127.0.0.1:1"))).open():
        pass
    assert said[-1] == (
        "the cache does not answer; the app works without it, only slower",
        {
            "location": "redis://127.0.0.1:1/0",
            "reason": "Redis at 127.0.0.1:1: nothing listens there.",
            "action": "Start the server, or correct the host and port in CACHE_URL.",
        },
    )
    assert "hunter2" not in str(said)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://:hunter2@127.0.0.1:1", "Redis at 127.0.0.1:1: nothing listens there"),
        ("memcached://127.0.0.1:1", "127.0.0.1:1: refused the connection"),
    ],
)
async def test_the_check_says_why_and_is_certain_once_the_server_is_left_alone(url: str, reason: str) -> None:
    async with CacheInitializer(CacheSettings(url=Secret(url))).open() as cache:
        while cache.available:  # some failures in a row
            await cache.get("a")
        with pytest.raises(CheckFailed) as failed:
            await check(cache)
    assert (str(failed.value), failed.value.certain, failed.value.__cause__) == (reason, True, None)


async def test_a_wrong_url_is_refused_before_anything_opens() -> None:
    with pytest.raises(ConfigError) as refused:
        async with running(App(), plugins=["cache"], settings={"CACHE_URL": "redis://:hunter2@r:x"}):
            pass
    text = render(diagnose(refused.value))
    assert "CACHE_URL: it has a port that is not a number from 1 to 65535." in text
    assert "declared by plugin cache" in text
    assert "hunter2" not in text


async def test_policies_of_kinds_come_from_settings_and_follow_a_reload(tmp_path: Path) -> None:
    variables = tmp_path / ".env"
    variables.write_text("CACHE_KINDS=forms\nCACHE_FORMS_TTL=600s\nCACHE_FORMS_MAX_ENTRIES=2\nCACHE_TTL=60s\n")
    async with running(App(), plugins=["cache"], folder=tmp_path) as service:
        cache = service.runtime.get(CacheService)
        forms, users = cache.kind("forms", ttl=1), cache.kind("users", ttl=1)
        assert (forms.policy.ttl, forms.policy.max_entries, users.policy.ttl) == (600, 2, 1)
        assert cache.kind("others").policy.ttl == 60
        for key in "abc":
            await forms.set(key, key)
        assert await forms.get_many(["a", "b", "c"]) == {"b": "b", "c": "c"}
        variables.write_text("CACHE_KINDS=forms\nCACHE_FORMS_TTL=30s\nCACHE_FORMS_MAX_ENTRIES=1\nCACHE_TTL=60s\n")
        assert (await service.runtime.reload()).outcome == "applied"
        assert (forms.policy.ttl, forms.policy.max_entries) == (30, 1)
        assert await forms.get_many(["a", "b", "c"]) == {"c": "c"}


async def test_a_rotated_password_is_used_from_the_reload_on(tmp_path: Path) -> None:
    with redis_server() as server:
        variables = tmp_path / ".env"
        url = server.dsn().replace("redis://", "redis://app@")
        server.execute("ACL", "SETUSER", "app", "on", ">old", "~*", "+@all")
        variables.write_text(f"CACHE_URL={url}\nCACHE_PASSWORD=old\n")
        async with running(App(), plugins=["cache"], folder=tmp_path) as service:
            cache = service.runtime.get(CacheService)
            assert await cache.set("rotated", b"1", strict=True)
            assert get_client().ping() is True
            server.execute("ACL", "SETUSER", "app", "<old", ">new")
            variables.write_text(f"CACHE_URL={url}\nCACHE_PASSWORD=new\n")
            assert (await service.runtime.reload()).outcome == "applied"
            server.execute("CLIENT", "KILL", "USER", "app")
            async with asyncio.timeout(10):
                while await cache.lookup("rotated") != b"1":
                    await asyncio.sleep(0.01)
            assert get_client().ping() is True


@pytest.fixture
def no_functions() -> Iterator[None]:
    before, functions[:] = functions[:], []
    yield
    functions[:] = before


@pytest.mark.usefixtures("no_functions")
async def test_the_cache_is_filled_before_readiness() -> None:
    @warm_up
    async def fill(cache: CacheService) -> None:
        assert get_cache() is cache
        await cache.set("answer", b"warm")

    assert warm_up_decorator(fill) is fill
    async with running(App(), plugins=["cache"]) as service, service.http.get("/") as response:
        assert await response.text() == "warm"


@pytest.mark.usefixtures("no_functions")
async def test_a_warm_up_that_fails_or_is_slow_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[object, object]] = []
    warn = log.warn

    def note(message: str, **fields: object) -> None:
        if message == "cache warm-up failed, the start goes on":
            said.append((str(fields["function"]).rpartition(".")[2], fields["reason"]))
        else:
            warn(message, **fields)

    monkeypatch.setattr("eggycore.log.warn", note)

    @warm_up
    async def fails(cache: CacheService) -> None:
        raise LookupError("no table")

    @warm_up
    async def is_slow(cache: CacheService) -> None:
        await asyncio.Event().wait()

    settings = {"CACHE_WARM_UP_TIMEOUT": "50ms"}
    async with running(App(), plugins=["cache"], settings=settings) as service, service.health.get("/readyz") as ready:
        assert ready.status == 200
    assert said == [("fails", "LookupError: no table"), ("is_slow", "not done in 0.05 s")]


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
