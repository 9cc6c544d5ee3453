"""What is not taken over of a ConfigMap, and what a person is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from eggycore import hookimpl
from eggycore.config import Config
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigRefused
from eggycore.runtime import Runtime
from eggycore.types import HealthCheck
from eggycore_k8s_watch.configmaps import ConfigMapWatch, configmap_check
from tests.servers.kubernetes import KubernetesAPI

kit = import_module("plugins.eggycore-k8s-watch.tests.configmap_world")
ShopSettings, Shop, watching, greeting, seen_version, until, reason, until_reason = (
    kit.ShopSettings,
    kit.Shop,
    kit.watching,
    kit.greeting,
    kit.seen_version,
    kit.until,
    kit.reason,
    kit.until_reason,
)


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
