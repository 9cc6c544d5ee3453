"""A runtime as an app author meets it: hooks, resources, configuration, reload, health, the current runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import eggycore
from eggycore import CheckFailed, ConfigRefused, HealthCheck, Initializer, Service, Settings, env, hookimpl
from eggycore.config import Config
from eggycore.diagnostics import diagnose, render
from eggycore.plan import PlanError
from eggycore.runtime import NotConfigured, Runtime
from eggycore.runtimes import NoRuntime
from eggycore.server.grpc import GRPCMissing
from eggycore.testing import Running, running
from eggycore.types import Change, Control

RunApp = Callable[..., Awaitable[Running]]


class Words:
    def __init__(self, words: dict[str, str]) -> None:
        self.words = words


class GreetingSettings(Settings):
    greeting: str = env("GREETING", default="hello", reload=True, doc="What is said.")
    volume: int = env("VOLUME", default=1, doc="How loud; read at the start.")


class Greeter:
    """An app with one of everything."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    @hookimpl
    def register_settings(self) -> type[Settings]:
        return GreetingSettings

    @hookimpl
    def init_infra(self, runtime: Runtime) -> Initializer[Words]:
        @asynccontextmanager
        async def open_words() -> AsyncIterator[Words]:
            yield Words({"greeting": runtime.config[GreetingSettings].greeting})

        return Initializer(name="words", open=open_words, provides=Words)

    @hookimpl
    def register_services(self, runtime: Runtime) -> None:
        async def greet(request: web.Request, words: Words) -> dict[str, object]:
            return {
                "at_start": words.words["greeting"],
                "now": runtime.config[GreetingSettings].greeting,
                "current": eggycore.current() is runtime,
            }

        runtime.http.get("/greeting", greet)

    @hookimpl
    def register_health_checks(self, runtime: Runtime) -> HealthCheck:
        def check() -> None:
            if not runtime.get(Words).words:
                raise CheckFailed("no words left", certain=True)

        return HealthCheck(name="words", check=check)

    @hookimpl
    def check_config(self, change: Change) -> None:
        if change.new[GreetingSettings].greeting == "shut up":
            raise ConfigRefused("that is not polite")

    @hookimpl
    async def config_changed(self, change: Change) -> None:
        self.changes.append(change)


async def test_a_route_gets_its_resource_and_the_configuration(run_app: RunApp):
    service = await run_app(Greeter(), settings={"GREETING": "hi"})
    response = await service.http.get("/greeting")
    assert await response.json() == {"at_start": "hi", "now": "hi", "current": True}


async def test_the_probes_are_there_without_any_plugin():
    async with running() as service:
        answers = [(await service.health.get(path)).status for path in ("/livez", "/readyz", "/startupz", "/healthz")]
        assert answers == [200, 200, 200, 200]
        assert "http" not in service.runtime.addresses


async def test_no_health_server_when_it_is_switched_off():
    async with running(settings={"ENABLE_HEALTH_CHECK": "false"}) as service:
        assert service.runtime.addresses == {}


async def test_routes_are_recorded_and_not_served_when_http_is_switched_off():
    async with running(Greeter(), settings={"ENABLE_BUSINESS_HTTP": "false"}) as service:
        assert [str(route) for route in service.runtime.http.routes] == ["GET /greeting"]
        assert "http" not in service.runtime.addresses


async def test_a_reload_takes_over_what_may_change_and_names_what_waits(tmp_path: Path):
    app = Greeter()
    async with running(app, folder=tmp_path) as service:
        (tmp_path / ".env").write_text("GREETING=bonjour\nVOLUME=11\n")
        result = await service.runtime.reload()
        assert (result.outcome, result.changed, result.pending) == ("applied", {"GREETING"}, {"VOLUME"})
        answer = await (await service.http.get("/greeting")).json()
        assert (answer["at_start"], answer["now"]) == ("hello", "bonjour")
        assert service.runtime.config.generation == 2
        assert [change.keys for change in app.changes] == [{"GREETING"}]


async def test_a_refused_reload_changes_nothing(tmp_path: Path):
    app = Greeter()
    async with running(app, folder=tmp_path) as service:
        (tmp_path / ".env").write_text("GREETING=shut up\n")
        result = await service.runtime.reload()
        assert result.outcome == "refused"
        assert result.blamed == "app Greeter"
        assert "that is not polite" in str(result.error)
        assert service.runtime.config[GreetingSettings].greeting == "hello"
        assert app.changes == []


async def test_a_reload_that_is_asked_for_while_stopping_tells_nobody(tmp_path: Path):
    app = Greeter()
    async with running(app, folder=tmp_path) as service:
        (tmp_path / ".env").write_text("GREETING=hi\n")
        service.runtime.draining.set()
        service.runtime.request_reload()
        assert "eggycore reload" not in {task.get_name() for task in asyncio.all_tasks()}
    assert app.changes == []


async def test_a_red_check_is_seen_in_readiness(run_app: RunApp):
    app = Greeter()
    service = await run_app(app)
    service.runtime.get(Words).words.clear()
    red = asyncio.Event()
    service.runtime.health.subscribe(lambda serves: None if serves else red.set())
    await asyncio.wait_for(red.wait(), 10)
    assert (await service.health.get("/readyz")).status == 503
    assert (await service.health.get("/readyz/words")).status == 503
    assert (await service.health.get("/livez")).status == 200


async def test_two_settings_with_one_port_share_one_management_server():
    class Metrics:
        @hookimpl
        def register_services(self, runtime: Runtime) -> None:
            async def metrics(request: web.Request) -> str:
                return "x 1\n"

            async def answer(request: web.Request) -> web.Response:
                return web.Response(text=await metrics(request))

            port = runtime.config[Config].health_check_port
            runtime.management(port, "METRICS_PORT").get("/metrics", answer)

    async with running() as probe:
        free_port = probe.runtime.addresses["HEALTH_CHECK_PORT"][1]
    async with running(Metrics(), settings={"HEALTH_CHECK_PORT": str(free_port)}) as service:
        assert service.runtime.addresses["METRICS_PORT"] == service.runtime.addresses["HEALTH_CHECK_PORT"]
        assert (await service.health.get("/metrics")).status == 200
        assert (await service.health.get("/livez")).status == 200


async def test_services_given_in_code_run_and_stop():
    events: list[str] = []

    class Ticker:
        async def start(self) -> None:
            events.append("start")

        async def stop(self) -> None:
            events.append("stop")

    async with running(services=[Ticker()]):
        assert events == ["start"]
    assert events == ["start", "stop"]


async def test_a_service_finds_its_runtime_in_tasks_and_threads():
    found: list[Runtime] = []

    async def run(control: Control) -> None:
        found.append(eggycore.current())
        found.append(await asyncio.to_thread(eggycore.current))
        control.started()
        await control.stopping.wait()

    async with running(services=[Service(name="finder", run=run)]) as one, running() as other:
        assert found == [one.runtime, one.runtime]
        with pytest.raises(NoRuntime) as caught:
            eggycore.current()
        assert render(diagnose(caught.value)) == (
            "There is no current runtime.\n"
            "  cause:  2 runtimes run in this process, and this task or thread belongs to none of them.\n"
            "  action: Call it from a handler, a service or a task started by one; elsewhere pass the runtime along."
        )
        await other.stop()
        assert eggycore.current() is one.runtime
    with pytest.raises(NoRuntime) as none:
        eggycore.current()
    assert "No runtime runs in this process." in render(diagnose(none.value))


def test_a_missing_resource_is_found_before_anything_opens():
    class App:
        @hookimpl
        def register_services(self, runtime: Runtime) -> None:
            async def read(request: web.Request, words: Words) -> None: ...

            runtime.http.get("/words", read)

    runtime = Runtime(app=App(), discover=False, environ={})
    with pytest.raises(PlanError) as caught:
        runtime.make_plan()
    assert render(diagnose(caught.value)) == (
        "The plan has 1 problem; nothing was opened.\n"
        "\n"
        "1. GET /words, parameter 'words' needs a Words, and nothing provides one.\n"
        "     cause:  Provided are: Runtime.\n"
        "     action: Return an Initializer with provides=Words from init_infra, or install the plugin that brings it."
    )


def test_the_configuration_is_not_there_before_it_is_read():
    runtime = Runtime(discover=False, environ={})
    with pytest.raises(NotConfigured) as caught:
        _ = runtime.config
    assert render(diagnose(caught.value)) == (
        "The configuration was asked for before it was read.\n"
        "  cause:  register_settings runs before any configuration is read.\n"
        "  action: Read runtime.config in init_infra, register_services, a handler or a run function."
    )


def test_a_servicer_without_grpc_is_refused_before_anything_opens(monkeypatch: pytest.MonkeyPatch):
    class App:
        @hookimpl
        def register_services(self, runtime: Runtime) -> None:
            runtime.grpc.add(lambda servicer, server: None, object())

    monkeypatch.setattr("eggycore.server.grpc.find_spec", lambda module: None)
    with pytest.raises(GRPCMissing):
        Runtime(app=App(), discover=False, environ={}).make_plan()


async def test_a_reload_that_goes_on_is_taken_back_before_anything_closes(tmp_path: Path):
    events: list[str] = []
    changing = asyncio.Event()

    class App(Greeter):
        @hookimpl
        def init_infra(self, runtime: Runtime) -> Initializer[Words]:
            @asynccontextmanager
            async def open_words() -> AsyncIterator[Words]:
                yield Words({"greeting": "hello"})
                events.append("closed")

            return Initializer(name="words", open=open_words, provides=Words)

        @hookimpl
        async def config_changed(self, change: Change) -> None:
            changing.set()
            try:
                await asyncio.Event().wait()
            finally:
                events.append("left")

    async with running(App(), folder=tmp_path) as service:
        (tmp_path / ".env").write_text("GREETING=bonjour\n")
        service.runtime.request_reload()
        await changing.wait()
    assert events == ["left", "closed"]
    assert service.runtime.config.generation == 1


async def test_hooks_may_hold_the_drain_and_ask_for_a_stop_before_there_is_a_plan():
    class Early:
        draining: asyncio.Event

        @hookimpl
        def register_services(self, runtime: Runtime) -> None:
            self.draining = runtime.draining
            runtime.request_stop("not today")

    app = Early()
    runtime = Runtime(app=app, discover=False, environ={"HEALTH_CHECK_PORT": "0"})
    assert await runtime.serve() == 0
    assert app.draining.is_set()


async def test_opened_holds_resources_and_runs_nothing():
    runtime = Runtime(app=Greeter(), discover=False, environ={"BUSINESS_HTTP_PORT": "0"})
    async with runtime.opened():
        assert runtime.get(Words).words == {"greeting": "hello"}
        assert eggycore.current() is runtime
        assert runtime.addresses == {}
    assert Words not in runtime.resources


async def test_a_timeline_of_what_happened(run_app: RunApp):
    service = await run_app(Greeter())
    await service.stop()
    phases = [(span.phase, span.component) for span in service.runtime.timeline.spans]
    for expected in [("configure", ""), ("plan", ""), ("open", "words"), ("start", "http"), ("close", "words")]:
        assert expected in phases
    assert "words" in service.runtime.timeline.render()


class Hanging:
    """An app whose handler takes as long as it is told."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.go_on = asyncio.Event()

    @hookimpl
    def register_services(self, runtime: Runtime) -> None:
        async def slow(request: web.Request) -> dict[str, Any]:
            self.arrived.set()
            await self.go_on.wait()
            return {"done": True}

        runtime.http.get("/slow", slow)


async def test_a_request_in_flight_is_finished_before_the_stop():
    app = Hanging()
    async with running(app) as service:
        answer = asyncio.create_task(service.http.get("/slow").__aenter__())
        await app.arrived.wait()
        stopping = asyncio.create_task(service.runtime.launcher.draining.wait())
        service.runtime.request_stop("the test")
        await stopping
        app.go_on.set()
        response = await answer
        assert await response.json() == {"done": True}
        assert await service.stop() == 0
