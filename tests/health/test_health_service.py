"""The probes over HTTP: status codes, bodies, and who may see details."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientResponse, ClientSession, web

from eggycore.config import Secret
from eggycore.health import Health
from eggycore.resources import Resources
from eggycore.server.health import HealthService
from eggycore.types import HealthCheck
from eggycore.web.binding import bind
from eggycore.web.routes import Router

Serve: TypeAlias = Callable[..., Awaitable[ClientSession]]

TOKEN = "t0ken"
IN_KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PROXIED = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture
def health() -> Health:
    health = Health()
    health.report("database", "UP", "all is well")
    health.set_ready(True)
    return health


@pytest.fixture
async def serve(health: Health) -> AsyncIterator[Serve]:
    """Serves the probes on a free port and returns a client of them."""
    async with AsyncExitStack() as stack:

        async def start(*, token: str | None = TOKEN, environ: Mapping[str, str] | None = None) -> ClientSession:
            router, app = Router(), web.Application()
            secret = None if token is None else Secret(token)
            HealthService(health, token=secret, environ=environ or {}).add_routes(router)
            for route in router.routes:
                app.router.add_get(route.path, bind(route, Resources()))
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            listener = socket.create_server(("127.0.0.1", 0))
            await web.SockSite(runner, listener).start()
            return await stack.enter_async_context(ClientSession(f"http://127.0.0.1:{listener.getsockname()[1]}"))

        yield start


async def body_of(response: ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    body: dict[str, Any] = await response.json()
    return body


async def test_healthz_answers_as_documented(serve: Serve) -> None:
    client = await serve()
    async with client.get("/healthz") as response:
        body = await body_of(response)
        assert response.status == 200
    assert datetime.fromisoformat(body.pop("timestamp")).utcoffset() is not None
    assert body == {"status": True, "checks": {"database": "OK"}}


async def test_red_checks_turn_healthz_and_readyz_red_but_not_livez_and_startupz(serve: Serve, health: Health) -> None:
    client = await serve()
    health.report("database", "DOWN", "refused")
    statuses = {}
    for path in ("/healthz", "/readyz", "/livez", "/startupz"):
        async with client.get(path) as response:
            statuses[path] = response.status
    assert statuses == {"/healthz": 503, "/readyz": 503, "/livez": 200, "/startupz": 200}


async def test_startupz_names_the_step_until_ready(serve: Serve, health: Health) -> None:
    client = await serve()
    health.set_ready(False)
    health.set_step("opening cache")
    async with client.get("/startupz") as response:
        assert (response.status, (await body_of(response))["step"]) == (503, "opening cache")
    health.set_ready(True)
    async with client.get("/startupz") as response:
        assert (response.status, await body_of(response)) == (200, {"status": "UP", "checks": {"database": "OK"}})


async def test_while_draining_readyz_is_red_and_livez_green(serve: Serve, health: Health) -> None:
    client = await serve()
    health.begin_drain()
    async with client.get("/readyz") as response:
        assert (response.status, (await body_of(response))["step"]) == (503, "draining")
    async with client.get("/livez") as response:
        assert response.status == 200


async def test_one_check_is_green_red_or_not_found(serve: Serve, health: Health) -> None:
    client = await serve()
    async with client.get("/readyz/database") as response:
        assert (response.status, await body_of(response)) == (200, {"status": "UP", "checks": {"database": "OK"}})
    health.report("service tick", "DOWN", critical=False)
    async with client.get("/readyz/service%20tick") as response:
        assert response.status == 503
    async with client.get("/readyz/nobody") as response:
        assert (response.status, response.content_type) == (404, "application/problem+json")
        assert await response.json() == {
            "title": "No such health check",
            "status": 404,
            "detail": "/healthz lists the checks; only those for readiness are found here.",
        }


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/startupz", "/readyz/database"])
async def test_head_answers_like_get_without_a_body(serve: Serve, path: str) -> None:
    client = await serve()
    async with client.head(path) as response:
        assert (response.status, await response.read()) == (200, b"")
        assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/startupz", "/readyz/database"])
async def test_a_bearer_of_the_management_token_sees_details(serve: Serve, path: str) -> None:
    client = await serve(environ=IN_KUBERNETES)
    async with client.get(path, params={"verbose": ""}, headers=BEARER) as response:
        details = (await body_of(response))["details"]
        assert details["database"]["reason"] == "all is well"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer t\u00f6ken"},
        {"Authorization": TOKEN},
    ],
)
async def test_a_stranger_gets_the_plain_answer_and_is_told_what_is_missing(
    serve: Serve, headers: dict[str, str]
) -> None:
    client = await serve(environ=IN_KUBERNETES)
    async with client.get("/readyz?verbose", headers=headers) as response:
        assert await body_of(response) == {"status": "UP", "checks": {"database": "OK"}}
        assert response.status == 200
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="details of health checks"'


@pytest.mark.parametrize("token", [None, ""])
async def test_without_a_management_token_no_bearer_is_let_in(serve: Serve, token: str | None) -> None:
    client = await serve(token=token, environ=IN_KUBERNETES)
    for given in ("", "None", "anything"):
        async with client.get("/healthz?verbose", headers={"Authorization": f"Bearer {given}"}) as response:
            assert "details" not in await body_of(response)


@pytest.mark.parametrize(
    ("environ", "headers", "sees"),
    [
        ({}, {}, True),
        ({}, {"Host": "localhost:8081"}, True),
        ({}, {"Host": "[::1]:8081"}, True),
        ({}, {"Host": "evil.example"}, False),
        ({}, PROXIED, False),
        (IN_KUBERNETES, {}, False),
    ],
)
async def test_the_loopback_sees_details_outside_kubernetes_unless_somebody_stands_behind_it(
    serve: Serve, environ: dict[str, str], headers: dict[str, str], sees: bool
) -> None:
    client = await serve(environ=environ)
    async with client.get("/healthz?verbose", headers=headers) as response:
        assert ("details" in await body_of(response)) is sees


@pytest.mark.parametrize("query", ["", "?verbose=0", "?verbose=false", "?pretty"])
async def test_details_are_given_only_when_asked_for(serve: Serve, query: str) -> None:
    client = await serve()
    async with client.get(f"/healthz{query}", headers=BEARER) as response:
        assert "details" not in await body_of(response)
        assert "WWW-Authenticate" not in response.headers


async def test_a_probe_never_waits_for_a_check(serve: Serve, health: Health) -> None:
    asked = []
    health.add(HealthCheck(name="slow", check=lambda: asked.append(1)))
    client = await serve()
    async with client.get("/readyz") as response:
        assert (response.status, (await body_of(response))["checks"]["slow"]) == (503, "UNKNOWN")
    assert asked == []
