"""The plugin inside a real runtime."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession

import eggycore_monitoring.plugin as monitoring
from eggycore import HealthCheck, Initializer, Runtime, hookimpl
from eggycore.testing import running
from eggycore_monitoring import MetricsService


class Words:
    """A resource."""


class App:
    """An app with a route, an initializer, a check, and an instrument of prometheus_client."""

    @hookimpl
    def init_infra(self, runtime: Any) -> Initializer[Words]:
        @asynccontextmanager
        async def open_words() -> AsyncIterator[Words]:
            yield Words()

        return Initializer(name="words", open=open_words, provides=Words)

    @hookimpl
    def register_services(self, runtime: Any) -> None:
        from prometheus_client import Counter

        metrics = runtime.get(MetricsService)
        greetings = Counter("greetings", "Greetings.", registry=metrics.registry)

        async def hello(request: Any) -> dict[str, str]:
            greetings.inc()
            return {"hello": request.match_info["name"]}

        runtime.http.get("/hello/{name}", hello)

    @hookimpl
    def register_health_checks(self, runtime: Any) -> HealthCheck:
        return HealthCheck(name="words", check=lambda: None)


async def scrape(client: ClientSession) -> str:
    async with client.get("/metrics") as response:
        assert response.status == 200
        return await response.text()


async def test_a_busy_runtime_is_exported_and_promtool_accepts_it(promtool: Callable[[bytes], str]) -> None:
    async with running(App(), plugins=[monitoring]) as service:
        for name in ("ada", "grace"):
            async with service.http.get(f"/hello/{name}") as response:
                assert response.status == 200
        text = await scrape(service.metrics)
    for line in (
        "greetings_total 2.0",
        'health_check_up{name="words"} 1.0',
        'http_server_requests_in_flight{server="http"} 0.0',
    ):
        assert f"\n{line}\n" in text, line
    assert '\neggycore_startup_seconds{component="words",phase="open"} ' in text
    assert "\neggycore_plugin_info{dist=" in text
    assert 'route="/hello/{name}"' in text
    assert promtool(text.encode()) == ""


async def test_an_empty_runtime_is_exported_and_promtool_accepts_it(promtool: Callable[[bytes], str]) -> None:
    async with running(plugins=[monitoring]) as service:
        assert promtool((await scrape(service.metrics)).encode()) == ""


def test_metrics_and_probes_may_share_a_port() -> None:
    environ = {"SERVICE_NAME": "test", "METRICS_PORT": "9091", "HEALTH_CHECK_PORT": "9091"}
    runtime = Runtime(objects=[("monitoring", monitoring)], environ=environ, discover=False)
    runtime.make_plan()
    paths = {route.path for route in runtime.management(9091, "METRICS_PORT").routes}
    assert {"/metrics", "/readyz"} <= paths


async def test_metrics_can_be_switched_off_while_collectors_are_still_taken() -> None:
    async with running(App(), plugins=[monitoring], settings={"ENABLE_METRICS": "false"}) as service:
        assert "METRICS_PORT" not in service.runtime.addresses
        async with service.http.get("/hello/ada") as response:
            assert response.status == 200


async def test_metrics_are_served_while_an_initializer_is_still_opening() -> None:
    seen: list[str] = []

    class Slow:
        @hookimpl
        def init_infra(self, runtime: Any) -> Initializer[Words]:
            @asynccontextmanager
            async def open_words() -> AsyncIterator[Words]:
                host, port = runtime.addresses["METRICS_PORT"]
                async with ClientSession(f"http://{host}:{port}") as client:
                    seen.append(await scrape(client))
                yield Words()
                async with ClientSession(f"http://{host}:{port}") as client:
                    seen.append(await scrape(client))

            return Initializer(name="words", open=open_words)

    async with running(Slow(), plugins=[monitoring]):
        await asyncio.sleep(0)
    assert ['phase="ready"' in text for text in seen] == [False, True]


def test_loading_the_plugin_does_not_import_prometheus_client() -> None:
    code = (
        "import sys, eggycore_monitoring, eggycore_monitoring.plugin, eggycore_monitoring.service\n"
        "print(sorted(name for name in sys.modules if name.startswith('prometheus_client')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
