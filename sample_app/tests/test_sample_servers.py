"""The same app on every database and every cache: one URL each makes the difference."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from eggycore_cache import CacheService
from eggycore_db import Database
from sample_app.forms import FormRow

pytestmark = pytest.mark.usefixtures("postgres_address", "mariadb_address", "redis_url", "memcached_session")
"""What outlives a test is started before it, not by `getfixturevalue` in its midst."""

FORMS = "/api/v1/forms"


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of a fresh database; SQLite is what the app has without any."""
    name = request.param
    return {} if name == "sqlite" else {"DATABASE_DSN": request.getfixturevalue(f"{name}_dsn")}


@pytest.fixture(params=["memory", "memcached", "redis"])
def cache(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Settings of a cache with a namespace that is this test's alone."""
    match request.param:
        case "memory":
            yield {}
        case "memcached":
            address = request.getfixturevalue("memcached_address")
            yield {"CACHE_URL": f"memcached://{address}", "CACHE_NAMESPACE": f"sample-{uuid.uuid4().hex}"}
        case _:
            prefix = request.getfixturevalue("redis_prefix").removesuffix(":")
            yield {"CACHE_URL": request.getfixturevalue("redis_url"), "CACHE_NAMESPACE": prefix}


async def test_forms_are_created_read_through_the_cache_and_listed(
    serve: Any, database: dict[str, str], cache: dict[str, str]
) -> None:
    service = await serve(**database, **cache)

    forms = []
    for title in ("Survey", "Überblick 📋"):
        async with service.http.post(FORMS, json={"title": title, "description": None}) as created:
            assert created.status == 201
            forms.append(await created.json())
    path = f"{FORMS}/{forms[1]['id']}"
    assert await _read(service, path) == forms[1]
    assert await _read(service, FORMS) == {"items": forms, "next": None}

    await service.runtime.get(Database).execute(FormRow.delete())
    assert await _read(service, path) == forms[1]  # from the cache
    assert await _read(service, FORMS) == {"items": [], "next": None}
    stats = await service.runtime.get(CacheService).stats()
    assert (stats.hits, stats.misses, stats.errors) == (1, 1, 0)


async def test_readiness_asks_the_servers(serve: Any, postgres_dsn: str, memcached_address: str) -> None:
    service = await serve(DATABASE_DSN=postgres_dsn, CACHE_URL=f"memcached://{memcached_address}")

    report = await _read(service, "/healthz", "health")

    assert report["checks"] == {"database": "OK", "cache": "OK", "forms": "OK"}


async def test_two_replicas_share_what_is_on_servers(
    serve: Any, mariadb_dsn: str, redis_url: str, redis_prefix: str
) -> None:
    settings = {"DATABASE_DSN": mariadb_dsn, "CACHE_URL": redis_url, "CACHE_NAMESPACE": redis_prefix.removesuffix(":")}
    one, other = await serve(**settings), await serve(**settings)

    async with one.http.post(FORMS, json={"title": "Survey"}) as created:
        form = await created.json()
    path = f"{FORMS}/{form['id']}"

    assert await _read(one, path) == form
    assert await _read(other, path) == form
    assert (await other.runtime.get(CacheService).stats()).hits == 1


async def _read(service: Any, path: str, door: str = "http") -> dict[str, Any]:
    async with getattr(service, door).get(path) as response:
        assert response.status == 200
        read: dict[str, Any] = await response.json()
        return read
