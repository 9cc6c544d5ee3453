"""/metrics over HTTP, without a runtime around it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from eggycore.diagnostics import diagnose, render
from eggycore.metrics import Registry
from eggycore_monitoring import MetricsService, PrometheusClientMissing
from eggycore_monitoring.loop_lag import LoopLag, loop_lag_service


class FakeControl:
    """What a service is handed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.draining = asyncio.Event()
        self.stopping = asyncio.Event()
        self.serving = asyncio.Event()

    def started(self) -> None:
        self.serving.set()


@asynccontextmanager
async def serving(service: MetricsService) -> AsyncIterator[ClientSession]:
    app = web.Application()
    service.add_routes(SimpleNamespace(get=app.router.add_get))
    runner = web.AppRunner(app)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    control = FakeControl("metrics")
    task = asyncio.create_task(service.as_service().run(control))
    await control.serving.wait()
    try:
        async with ClientSession(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            yield client
    finally:
        control.stopping.set()
        await task
        await runner.cleanup()


async def test_a_scrape_gets_what_it_accepts(runtime: Any) -> None:
    async with serving(MetricsService(runtime)) as client:
        async with client.get("/metrics", headers={"Accept-Encoding": "identity"}) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert "Content-Encoding" not in response.headers
            assert response.headers["Vary"] == "Accept, Accept-Encoding"
            assert "\neggycore_config_generation 3.0\n" in await response.text()
        async with client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert response.headers["Content-Encoding"] == "gzip"
            assert (await response.text()).endswith("# EOF\n")


class Slow:
    """A collector that waits until it is let go, and remembers in which threads it was asked."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.entered = threading.Event()
        self.threads: list[str] = []

    def collect(self) -> Iterator[Metric]:
        self.threads.append(threading.current_thread().name)
        self.entered.set()
        self.release.wait()
        yield GaugeMetricFamily("slow_messages", "Slow.", 1)


async def test_a_slow_collector_holds_up_neither_the_loop_nor_more_than_one_thread(runtime: Any) -> None:
    service, slow = MetricsService(runtime), Slow()
    service.register_collector(slow)
    async with serving(service) as client, asyncio.TaskGroup() as group:
        scrapes = [group.create_task(client.get("/metrics")) for _ in range(5)]
        await asyncio.to_thread(slow.entered.wait)
        slow.release.set()
        texts = {await (await scrape).text() for scrape in scrapes}
        assert all("slow_messages 1.0" in text for text in texts)
    assert set(slow.threads) == {"eggycore metrics_0"}


async def test_a_scrape_after_the_service_has_stopped_is_still_answered(runtime: Any) -> None:
    service = MetricsService(runtime)
    async with serving(service):
        pass
    request = SimpleNamespace(headers=SimpleNamespace(getall=lambda *_: (), get=lambda *_: ""))
    response = await service.handle(request)
    assert response.status == 200


def test_without_prometheus_client_the_start_fails_and_says_what_to_do(
    runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore_monitoring.service.find_spec", lambda name: None)
    with pytest.raises(PrometheusClientMissing) as raised:
        MetricsService(runtime)
    assert render(diagnose(raised.value)) == (
        "The package prometheus_client is not installed.\n"
        "  cause:  eggycore-monitoring requires it; it was removed, or left out with --no-deps.\n"
        "  action: Run: pip install prometheus-client"
    )


async def test_the_lag_of_the_event_loop_is_observed() -> None:
    registry, now = Registry(), [100.0]
    child = registry.histogram("event_loop_lag_seconds", "Lag.").labels()
    lag = LoopLag(child, clock=lambda: now[0])
    lag.start()
    for late in (0.0, 0.25, -0.1):  # a timer may come a little early
        now[0] += 0.5 + late
        lag.stop()
        lag.tick()
    lag.stop()
    lag.stop()
    assert (child.count, child.sum) == (3, pytest.approx(0.25))


async def test_the_event_loop_is_watched_until_the_service_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eggycore_monitoring.loop_lag.INTERVAL", 0.001)
    registry, control = Registry(), FakeControl("event loop lag")
    service = loop_lag_service(registry)
    task = asyncio.create_task(service.run(control))
    await control.serving.wait()
    (family,) = registry.collect()
    while not family.samples[0].buckets[-1][1]:
        await asyncio.sleep(0)
        (family,) = registry.collect()
    control.stopping.set()
    await task
    assert (family.name, service.stage, service.critical) == ("event_loop_lag_seconds", "probe", False)
