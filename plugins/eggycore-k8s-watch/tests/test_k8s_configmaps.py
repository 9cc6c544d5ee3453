"""ConfigMaps in a real runtime against the double: what changes, what stays, and what a person is told."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from eggycore import hookimpl
from eggycore.config import Config, Settings, env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigRefused, NotUpYet
from eggycore.runtime import Runtime
from eggycore.testing import Running, running
from eggycore.types import HealthCheck
from eggycore_k8s_watch.configmaps import ConfigMapWatch, configmap_check
from eggycore_k8s_watch.errors import ApiRefused, ApiUnreachable, ConfigMapMissing, Forbidden
from eggycore_k8s_watch.objects import version_of
from eggycore_k8s_watch.overlays import Overlay, overlay_of
from tests.servers.certificates import Certificates
from tests.servers.kubernetes import KubernetesAPI


class ShopSettings(Settings):
    greeting: str = env("GREETING", default="hello", reload=True, doc="What is said.")
    limit: int = env("SHOP_LIMIT", default=10, ge=1, reload=True, doc="How many.")
    color: str = env("COLOR", default="red", doc="Only a restart changes it.")


class Shop:
    """An app that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []

    @hookimpl
    def register_settings(self) -> type[Settings]:
        return ShopSettings

    @hookimpl
    def config_changed(self, change: Any) -> None:
        self.told.append((time.monotonic(), change.new[ShopSettings].greeting))


@pytest.fixture
def server() -> Iterator[KubernetesAPI]:
    with KubernetesAPI() as api:
        api.bookmark_every(0.5)
        yield api


def environ(server: KubernetesAPI, folder: Path, **more: str) -> dict[str, str]:
    return {
        "ENABLE_K8S_CONFIG_WATCH": "true",
        "K8S_KUBECONFIG": str(server.kubeconfig(folder, namespace="shop")),
        "K8S_CONFIGMAP_NAME": "forms",
    } | {key: text for key, text in more.items() if text}


@asynccontextmanager
async def watching(server: KubernetesAPI, folder: Path, app: Shop | None = None, **more: str) -> AsyncIterator[Running]:
    settings = environ(server, folder, **more)
    if "K8S_CONFIGMAP_SELECTOR" in settings:
        del settings["K8S_CONFIGMAP_NAME"]
    async with running(app or Shop(), plugins=["k8s-watch"], settings=settings, folder=folder) as service:
        yield service


def greeting(service: Running) -> str:
    return service.runtime.config[ShopSettings].greeting


def reloads(service: Running) -> float:
    """How many there have been, whatever came of them."""
    (family,) = (one for one in service.runtime.metrics.collect() if one.name == "config_reloads_total")
    return sum(sample.value for sample in family.samples)


def seen_version(service: Running) -> str:
    """The version of the one ConfigMap that was last laid."""
    return version_of(service.runtime.get(ConfigMapWatch)._latest["forms"])


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while True:
        said = condition()
        if said if isinstance(said, bool) else await said:
            return
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.005)


async def reason(service: Running, check: str = "k8s-config") -> str:
    """Why the check is degraded, "" when it is not."""
    answer = await service.health.get("/readyz?verbose")
    assert answer.status == 200  # never red: the last good values are in force
    details = (await answer.json())["details"][check]
    return str(details["reason"] or details["status"]) if details["status"] != "UP" else ""


async def until_reason(service: Running, wanted: str) -> None:
    try:
        async with asyncio.timeout(10):
            while await reason(service) != wanted:
                await asyncio.sleep(0.005)
    except TimeoutError:
        assert await reason(service) == wanted


# --- what changes


async def test_the_first_state_is_in_force_before_the_app_is_ready(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi", "application.yaml": "shop:\n  limit: 20\n"})
    async with watching(server, tmp_path) as service:
        assert greeting(service) == "hi"
        assert service.runtime.config[ShopSettings].limit == 20
        origins = [service.runtime.config.explain(key).entry.origin for key in ("GREETING", "SHOP_LIMIT")]
        assert origins == [
            "ConfigMap shop/forms, key GREETING",
            "ConfigMap shop/forms, key application.yaml line 2",
        ]
        assert await reason(service) == ""


async def test_every_change_reaches_the_app_within_milliseconds(server: KubernetesAPI, tmp_path: Path) -> None:
    app = Shop()
    server.put("configmaps", "shop", "forms", data={"GREETING": "0"})
    async with watching(server, tmp_path, app) as service:
        seconds = []
        for number in range(1, 101):
            begun = time.monotonic()
            server.put("configmaps", "shop", "forms", data={"GREETING": str(number)})
            await until(lambda number=number: app.told[-1][1] == str(number))  # type: ignore[misc]  # bound now
            seconds.append(app.told[-1][0] - begun)
        assert [told for _, told in app.told[-100:]] == [str(number) for number in range(1, 101)]
        assert min(seconds) < 0.05  # nothing waits for more; what is above is a busy machine
        assert median(seconds) < 0.5
        assert service.runtime.config.generation >= 101


async def test_changes_faster_than_they_can_be_taken_over_end_with_the_last(
    server: KubernetesAPI, tmp_path: Path
) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "0"})
    async with watching(server, tmp_path) as service:
        for number in range(1, 101):
            server.put("configmaps", "shop", "forms", data={"GREETING": str(number)})
        await until(lambda: greeting(service) == "100")


async def test_only_the_document_of_this_environment_counts(server: KubernetesAPI, tmp_path: Path) -> None:
    data = {"base.yaml": "greeting: base", "production.yaml": "greeting: production", "staging.json": "{"}
    server.put("configmaps", "shop", "forms", data=data)
    async with watching(server, tmp_path, ENVIRONMENT="production") as service:
        assert greeting(service) == "production"
        data["production.yaml"] = "shop_limit: 7"
        server.put("configmaps", "shop", "forms", data=data)
        await until(lambda: greeting(service) == "base")


async def test_all_that_a_label_selects_are_laid_and_none_is_fine(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "other", data={"GREETING": "other"})
    async with watching(server, tmp_path, K8S_CONFIGMAP_SELECTOR="app=forms") as service:
        assert greeting(service) == "hello"
        server.put("configmaps", "shop", "b", data={"GREETING": "b"}, labels={"app": "forms"})
        await until(lambda: greeting(service) == "b")
        server.put("configmaps", "shop", "a", data={"GREETING": "a", "SHOP_LIMIT": "3"}, labels={"app": "forms"})
        await until(lambda: service.runtime.config[ShopSettings].limit == 3)
        assert greeting(service) == "b"


async def test_a_change_of_nothing_that_counts_is_no_reload(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
    async with watching(server, tmp_path) as service:
        before = reloads(service)
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"}, annotations={"touched": "1"})
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"}, labels={"a": "b"})
        events = service.runtime.metrics.counter(
            "k8s_watch_events_total", "Events that the watches of the Kubernetes API have delivered.", ("type",)
        )
        await until(lambda: events.labels("MODIFIED").value == 2)
        server.put("configmaps", "shop", "forms", data={"GREETING": "hey"})
        await until(lambda: greeting(service) == "hey")
        assert reloads(service) == before + 1


async def test_a_configmap_of_1_mib_is_taken_over(server: KubernetesAPI, tmp_path: Path) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
    async with watching(server, tmp_path) as service:
        server.put("configmaps", "shop", "forms", data={"GREETING": "x" * 1_000_000})
        await until(lambda: len(greeting(service)) == 1_000_000)


async def test_documents_are_read_beside_the_event_loop(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set[threading.Thread]()

    def reading(origin: str, data: Mapping[str, str], **more: Any) -> Overlay:
        threads.add(threading.current_thread())
        return overlay_of(origin, data, **more)

    monkeypatch.setattr("eggycore_k8s_watch.overlays.overlay_of", reading)
    server.put("configmaps", "shop", "forms", data={"base.yaml": "greeting: hi"})
    async with watching(server, tmp_path) as service:
        server.put("configmaps", "shop", "forms", data={"base.yaml": "greeting: ho"})
        await until(lambda: greeting(service) == "ho")
    assert threads
    assert threading.main_thread() not in threads


# --- what is not taken over


async def test_an_overlay_repoints_nothing(
    server: KubernetesAPI, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = {
        "GREETING": "hi",
        "COLOR": "blue",
        "MANAGEMENT_TOKEN": "hunter2",
        "GRETING": "typo",
        "GREETING_FILE": "/etc/passwd",
        "ENVIRONMENT": "production",
    }
    server.put("configmaps", "shop", "forms", data=data)
    async with watching(server, tmp_path) as service:
        config = service.runtime.config
        assert config[ShopSettings] == ShopSettings(greeting="hi")
        assert config[Config].management_token is None
        assert config[Config].environment == "development"
        ignored = service.runtime.reload_status.last
        assert ignored is not None
        assert sorted(ignored.ignored) == [
            "COLOR, set in ConfigMap shop/forms, key COLOR, is ignored: it only changes with a restart.",
            "ENVIRONMENT, set in ConfigMap shop/forms, key ENVIRONMENT, is ignored: it only changes with a restart.",
            "GREETING_FILE, set in ConfigMap shop/forms, key GREETING_FILE, is ignored: an overlay cannot name files.",
            "GRETING, set in ConfigMap shop/forms, key GRETING, is ignored: nobody declares it."
            " Did you mean 'GREETING'?",
            "MANAGEMENT_TOKEN, set in ConfigMap shop/forms, key MANAGEMENT_TOKEN, is ignored: a secret cannot come from"
            " an overlay.",
        ]
        text = await (await service.health.get("/readyz?verbose")).text()
    assert "hunter2" not in text + "".join(capfd.readouterr())


async def test_an_invalid_value_leaves_everything_as_it_is_until_it_is_right(
    server: KubernetesAPI, tmp_path: Path
) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
    async with watching(server, tmp_path) as service:
        server.put("configmaps", "shop", "forms", data={"GREETING": "hey", "LOG_LEVEL": "loud"})
        await until_reason(service, "not taken over (refused): LOG_LEVEL 'loud': not one of the choices")
        assert greeting(service) == "hi"
        result = service.runtime.reload_status.last
        assert result is not None
        assert result.error is not None
        assert render(diagnose(result.error)) == (
            "The configuration has 1 problem.\n"
            "\n"
            "1. LOG_LEVEL 'loud': not one of the choices.\n"
            "     cause:  It was set in ConfigMap shop/forms, key LOG_LEVEL, declared by eggycore.\n"
            "     action: Set it to one of debug, info, warn, error, fatal."
        )
        server.put("configmaps", "shop", "forms", data={"GREETING": "hey", "LOG_LEVEL": "info"})
        await until_reason(service, "")
        assert greeting(service) == "hey"


async def test_what_was_refused_is_in_force_once_any_reload_goes_well(server: KubernetesAPI, tmp_path: Path) -> None:
    class Stubborn(Shop):
        refuses = True

        @hookimpl
        def check_config(self, change: Any) -> None:
            if self.refuses:
                raise ConfigRefused("not now")

    app = Stubborn()
    server.put("configmaps", "shop", "forms", data={})
    async with watching(server, tmp_path, app) as service:
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
        await until_reason(service, "not taken over (refused): Not now")
        assert greeting(service) == "hello"
        app.refuses = False
        await service.runtime.reload()
        assert greeting(service) == "hi"
        service.runtime.health.look_again("k8s-config")
        await until_reason(service, "")
        (tmp_path / ".env").write_text("SHOP_LIMIT=none\n")
        assert (await service.runtime.reload()).outcome == "refused"
        assert not service.runtime.get(ConfigMapWatch)._laying.refusal, "what is wrong now is another's"


async def test_health_tells_the_type_of_what_a_plugin_raised_and_not_its_text(
    server: KubernetesAPI, tmp_path: Path
) -> None:
    class Careless(Shop):
        @hookimpl
        def config_changed(self, change: Any) -> None:
            raise RuntimeError("cannot log in with hunter2")

    server.put("configmaps", "shop", "forms", data={})
    async with watching(server, tmp_path, Careless()) as service:
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
        await until_reason(
            service,
            f"not taken over (undone): App {Careless.__qualname__} failed in config_changed. RuntimeError was raised",
        )
        assert "hunter2" not in await (await service.health.get("/readyz?verbose")).text()


async def test_a_plugin_that_hangs_is_named_in_health_without_its_stack(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Shop):
        @hookimpl
        async def config_changed(self, change: Any) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("eggycore.reloading.LONGEST", 0.1)
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
    async with watching(server, tmp_path, Hanging()) as service:  # it starts, with what is there besides
        await until_reason(
            service, f"not taken over (undone): App {Hanging.__qualname__} did not take the change over within 0.1 s"
        )
        assert greeting(service) == "hello"


async def test_an_invalid_value_at_the_start_does_not_keep_the_app_from_starting(
    server: KubernetesAPI, tmp_path: Path
) -> None:
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi", "SHOP_LIMIT": "0"})
    async with watching(server, tmp_path) as service:
        assert greeting(service) == "hello"
        await until_reason(service, "not taken over (refused): SHOP_LIMIT '0': less than 1")


async def test_a_document_that_cannot_be_read_keeps_the_whole_configmap_as_it_was(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("eggycore.log.error", lambda text, **fields: said.append((text, fields)))
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi", "base.yaml": "shop_limit: 20"})
    async with watching(server, tmp_path) as service:
        server.put("configmaps", "shop", "forms", data={"GREETING": "hey", "base.yaml": "shop:\n\tlimit: 30"})
        await until_reason(
            service,
            "ConfigMap shop/forms, key base.yaml, line 2, column 1: indented with a tab; the last good values are kept",
        )
        assert (greeting(service), service.runtime.config[ShopSettings].limit) == ("hi", 20)
        server.put("configmaps", "shop", "forms", data={"GREETING": "ho", "base.yaml": "shop:\n\tlimit: 30"})
        server.put("configmaps", "shop", "forms", data={"base.yaml": "shop:\n\tlimit: 30"})
        version = server.get("configmaps", "shop", "forms")["metadata"]["resourceVersion"]
        await until(lambda: seen_version(service) == version)
        assert said == [
            (
                "a ConfigMap is not taken over; its last good values stay",
                {
                    "reason": "The configuration has 1 problem.\n"
                    "\n"
                    "1. ConfigMap shop/forms, key base.yaml, line 2, column 1: indented with a tab.\n"
                    "     action: Indent with spaces: YAML allows no tabs there."
                },
            )
        ]
        server.put("configmaps", "shop", "forms", data={"GREETING": "hey", "base.yaml": "shop:\n  limit: 30"})
        await until_reason(service, "")
        assert (greeting(service), service.runtime.config[ShopSettings].limit) == ("hey", 30)


async def test_a_deleted_configmap_keeps_its_last_values_until_it_is_back(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seldom(runtime: Runtime) -> HealthCheck:
        return replace(configmap_check(runtime), interval=3600)  # so that only being told makes it look

    monkeypatch.setattr("eggycore_k8s_watch.configmaps.configmap_check", seldom)
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi", "SHOP_LIMIT": "20"})
    async with watching(server, tmp_path) as service:
        server.delete("configmaps", "shop", "forms")
        await until_reason(service, "ConfigMap shop/forms is deleted; its last values are kept")
        assert greeting(service) == "hi"
        server.put("configmaps", "shop", "forms", data={"GREETING": "hey"})
        await until_reason(service, "")
        assert (greeting(service), service.runtime.config[ShopSettings].limit) == ("hey", 10)


# --- a server that is not there


async def test_a_server_that_goes_away_and_comes_back_is_caught_up_with(
    server: KubernetesAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eggycore_k8s_watch.configmaps.BRIEF", 0.0)
    server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
    async with watching(server, tmp_path) as service:
        await asyncio.to_thread(server.stop)
        service.runtime.health.look_again("k8s-config")
        unreachable = f"The Kubernetes API server {server.url} cannot be reached."
        why = rf"not watched for \d+ s, the last values are kept: {re.escape(unreachable)}"

        async def is_degraded() -> bool:
            service.runtime.health.look_again("k8s-config")
            return re.fullmatch(why, await reason(service)) is not None

        await until(is_degraded)
        assert greeting(service) == "hi"
        server.put("configmaps", "shop", "forms", data={"GREETING": "hey"})
        await asyncio.to_thread(server.start)
        await until(lambda: greeting(service) == "hey", 20)
        await until_reason(service, "")


async def failed_start(server: KubernetesAPI, folder: Path, **more: str) -> BaseException:
    with pytest.raises(Exception) as failed:  # which one is what the tests look at
        async with watching(server, folder, STARTUP_TIMEOUT="0.6s", **more):
            pass
    return failed.value


async def test_a_server_that_does_not_answer_fails_the_start_in_the_end(server: KubernetesAPI, tmp_path: Path) -> None:
    server.stop()
    began = time.monotonic()
    error = await failed_start(server, tmp_path)
    assert 0.5 < time.monotonic() - began < 10
    assert isinstance(error, ApiUnreachable)
    assert render(diagnose(error)) == (
        f"The Kubernetes API server {server.url} cannot be reached.\n"
        "  cause:  It refused the connection.\n"
        "  action: Look whether it runs and whether a NetworkPolicy lets this process reach it."
    )


async def test_a_configmap_that_is_missing_is_waited_for_and_fails_the_start_in_the_end(
    server: KubernetesAPI, tmp_path: Path
) -> None:
    error = await failed_start(server, tmp_path)
    assert isinstance(error, ConfigMapMissing)
    assert isinstance(error, NotUpYet)
    assert render(diagnose(error)) == (
        "There is no ConfigMap forms in namespace shop.\n"
        "  cause:  K8S_CONFIGMAP_NAME names it, and the API server has none of that name there.\n"
        "  action: Create it: kubectl -n shop create configmap forms"
    )


async def test_a_configmap_that_is_made_during_the_start_is_found(server: KubernetesAPI, tmp_path: Path) -> None:
    async def make() -> None:
        await until(lambda: len(server.requests) >= 2)
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})

    making = asyncio.create_task(make())
    async with watching(server, tmp_path) as service:
        assert greeting(service) == "hi"
    await making


async def test_what_is_forbidden_fails_the_start_with_the_role_to_apply(server: KubernetesAPI, tmp_path: Path) -> None:
    server.deny("list", "configmaps")
    error = await failed_start(server, tmp_path)
    assert isinstance(error, Forbidden)
    assert "resourceNames: [forms], verbs: [get, list, watch]" in diagnose(error).action


async def test_a_request_that_can_never_be_right_fails_the_start_at_once(server: KubernetesAPI, tmp_path: Path) -> None:
    error = await failed_start(server, tmp_path, K8S_CONFIGMAP_SELECTOR="a in (")
    assert isinstance(error, ApiRefused)
    assert error.status == 400
    assert len(server.requests) == 1


async def test_in_a_pod_its_own_namespace_and_token_are_used(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sa").mkdir()
    with KubernetesAPI(certificates) as server:
        pod = server.service_account(tmp_path / "sa", token="t")
        server.require_tokens({"t": "system:serviceaccount:shop:forms"})
        server.put("configmaps", "shop", "forms", data={"GREETING": "hi"})
        monkeypatch.setattr(
            "eggycore_k8s_watch.access.find_access.__kwdefaults__",
            {
                "kubeconfig": None,
                "context": None,
                "environ": pod.environ,
                "account": tmp_path / "sa",
                "home": tmp_path,
            },
        )
        settings = {"ENABLE_K8S_CONFIG_WATCH": "true", "K8S_CONFIGMAP_NAME": "forms"}
        async with running(Shop(), plugins=["k8s-watch"], settings=settings, folder=tmp_path) as service:
            assert greeting(service) == "hi"
        assert {call.user for call in server.requests} == {"system:serviceaccount:shop:forms"}
