"""The configuration over HTTP: who may see it and have it reloaded, and what they are answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse

from eggycore import Change, ConfigRefused, Secret, Settings, env, hookimpl
from eggycore.config.sources import Layer
from eggycore.testing import Running, running
from tests.docs.walkthrough import Walkthrough

TOKEN = "t0ken"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
GUESSED = {"Authorization": "Bearer guessed"}
IN_KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "SHUTDOWN_DRAIN_DELAY": "0s"}
PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


class Greeting(Settings):
    words: str = env("GREETING", default="hello", reload=True, doc="What to say.")
    voice: str = env("GREETING_VOICE", default="soft", doc="How to say it.")
    password: Secret[str] = env("GREETING_PASSWORD", default="hunter2", reload=True, doc="Who may.")


class Greeter:
    """Refuses to be rude, stumbles over long words, and waits in the middle of a reload when it is told to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    @hookimpl
    def register_settings(self) -> type[Settings]:
        return Greeting

    @hookimpl
    def check_config(self, change: Change) -> None:
        if change.new[Greeting].words == "ugh":
            raise ConfigRefused("GREETING is rude")

    @hookimpl
    async def config_changed(self, change: Change) -> None:
        await self.go_on.wait()
        words = change.new[Greeting].words
        if len(words) > 20:
            raise ValueError(f"stumbled with {change.new[Greeting].password.reveal()}")
        self.told.append(words)


@asynccontextmanager
async def serving(folder: Path, app: Greeter | None = None, **settings: str) -> AsyncIterator[Running]:
    given = {"CONFIG_WATCH": "false", "MANAGEMENT_TOKEN": TOKEN, **settings}
    async with running(app or Greeter(), settings=given, folder=folder) as service:
        yield service


async def body_of(response: ClientResponse, status: int = 200) -> dict[str, Any]:
    body: dict[str, Any] = await response.json(content_type=None)
    assert response.status == status, body
    assert response.content_type == ("application/json" if status == 200 else "application/problem+json")
    assert response.headers["Cache-Control"] == "no-store"
    return body


async def reloaded(service: Running, status: int = 200) -> dict[str, Any]:
    async with service.health.post("/config/reload", headers=BEARER) as response:
        return await body_of(response, status)


async def test_a_bearer_of_the_token_sees_every_variable_and_no_secret(tmp_path: Path) -> None:
    async with serving(tmp_path, **IN_KUBERNETES) as service, service.health.get("/config", headers=BEARER) as response:
        body = await body_of(response)
        assert "hunter2" not in await response.text()
        assert TOKEN not in await response.text()
    entries = {entry.pop("key"): entry for entry in body.pop("entries")}
    assert body == {
        "generation": 1,
        "running": True,
        "last_reload": None,
        "scheduled_at": None,
        "on_probation": False,
        "pending": [],
        "ignored": [],
        "warnings": [],
    }
    assert entries["GREETING"] == {
        "shown": "hello",
        "origin": "default",
        "owner": "app Greeter",
        "doc": "What to say.",
        "default_shown": "hello",
        "reloadable": True,
        "secret": False,
        "type_name": "text",
        "unit": None,
        "also": [],
        "inherits": "",
        "contents": False,
        "pending": False,
    }
    assert entries["GREETING_PASSWORD"]["shown"] == "******"
    assert entries["MANAGEMENT_TOKEN"]["shown"] == "******"


async def test_outside_kubernetes_the_loopback_sees_the_configuration_and_may_not_reload_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        async with service.health.get("/config") as response:
            await body_of(response)
        async with service.health.get("/config", headers={"X-Forwarded-For": "203.0.113.9"}) as response:
            await body_of(response, 401)
        async with service.health.post("/config/reload") as response:
            await body_of(response, 401)


@pytest.mark.parametrize("headers", [{}, GUESSED, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}])
async def test_a_stranger_is_told_what_is_missing(tmp_path: Path, headers: dict[str, str]) -> None:
    app = Greeter()
    async with serving(tmp_path, app, **IN_KUBERNETES) as service:
        (tmp_path / ".env").write_text("GREETING=hi\n")
        for method, path in (("GET", "/config"), ("POST", "/config/reload")):
            async with service.health.request(method, path, headers=headers) as response:
                assert await body_of(response, 401) == {
                    "title": "Only for bearers of the management token",
                    "status": 401,
                    "detail": "Send MANAGEMENT_TOKEN as Authorization: Bearer ...",
                }
                assert response.headers["WWW-Authenticate"] == 'Bearer realm="configuration"'
        assert service.runtime.config.generation == 1
    assert app.told == []


@pytest.mark.parametrize("headers", [{}, BEARER, {"Authorization": "Bearer "}])
async def test_without_a_management_token_nobody_may_reload(tmp_path: Path, headers: dict[str, str]) -> None:
    async with serving(tmp_path, MANAGEMENT_TOKEN="") as service:
        async with service.health.post("/config/reload", headers=headers) as response:
            assert await body_of(response, 403) == {
                "title": "There is no management token",
                "status": 403,
                "detail": "Set MANAGEMENT_TOKEN (or MANAGEMENT_TOKEN_FILE) and restart, "
                "then send it as Authorization: Bearer ...",
            }
        assert service.runtime.config.generation == 1


async def test_the_token_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    async with running(Greeter(), settings={"MANAGEMENT_TOKEN_FILE": "token"}, folder=tmp_path) as service:
        assert (await reloaded(service))["outcome"] == "unchanged"


async def test_a_reload_is_over_when_it_is_answered(tmp_path: Path) -> None:
    app = Greeter()
    async with serving(tmp_path, app) as service:
        (tmp_path / ".env").write_text("GREETING=hi\nGREETING_VOICE=loud\n")
        assert await reloaded(service) == {
            "outcome": "applied",
            "generation": 2,
            "changed": ["GREETING"],
            "pending": ["GREETING_VOICE"],
            "blamed": "",
            "stranded": [],
        }
        assert app.told == ["hi"]
        assert (await reloaded(service))["outcome"] == "unchanged"
        async with service.health.get("/config") as response:
            body = await body_of(response)
    entries = {entry["key"]: entry for entry in body["entries"]}
    assert (entries["GREETING"]["shown"], entries["GREETING"]["origin"]) == ("hi", ".env line 1")
    assert (entries["GREETING_VOICE"]["shown"], entries["GREETING_VOICE"]["pending"]) == ("soft", True)
    last = body["last_reload"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", last.pop("at"))
    assert last == {
        "outcome": "unchanged",
        "generation": 2,
        "changed": [],
        "pending": ["GREETING_VOICE"],
        "blamed": "",
        "stranded": [],
        "by": "the management endpoint",
        "error": None,
    }


async def test_keys_that_an_overlay_may_not_set_are_told_without_their_values(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        values = {"GREETING": "hi", "GREETNG": "x", "GREETING_VOICE": "loud", "GREETING_PASSWORD": "hunter3"}
        await service.runtime.overlay("test", [Layer("ConfigMap forms", values)])
        async with service.health.get("/config") as response:
            body = await body_of(response)
            assert "hunter3" not in await response.text()
    shown = {entry["key"]: (entry["shown"], entry["origin"]) for entry in body["entries"]}
    assert shown["GREETING"] == ("hi", "ConfigMap forms")
    assert shown["GREETING_VOICE"] == ("soft", "default")
    assert body["ignored"] == [
        "GREETNG, set in ConfigMap forms, is ignored: nobody declares it. Did you mean 'GREETING'?",
        "GREETING_VOICE, set in ConfigMap forms, is ignored: it only changes with a restart.",
        "GREETING_PASSWORD, set in ConfigMap forms, is ignored: a secret cannot come from an overlay.",
    ]


async def test_what_is_wrong_with_the_new_configuration_is_a_problem_that_names_all_of_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        (tmp_path / ".env").write_text("LOG_LEVEL=loud\nGREETING_PASSWORD=\n")
        assert await reloaded(service, 409) == {
            "title": "The reload was refused",
            "status": 409,
            "detail": "The configuration has 2 problems.",
            "outcome": "refused",
            "generation": 1,
            "changed": [],
            "pending": [],
            "blamed": "",
            "stranded": [],
            "cause": "",
            "action": "",
            "problems": [
                {
                    "key": "LOG_LEVEL",
                    "reason": "not one of the choices",
                    "value": "loud",
                    "origin": ".env line 1",
                    "owner": "eggycore",
                    "action": "Set it to one of debug, info, warn, error, fatal.",
                },
                {
                    "key": "GREETING_PASSWORD",
                    "reason": "empty",
                    "value": None,
                    "origin": ".env line 2",
                    "owner": "app Greeter",
                    "action": "Set it to text, or remove it for the default.",
                },
            ],
        }


async def test_who_refuses_is_blamed(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        (tmp_path / ".env").write_text("GREETING=ugh\n")
        body = await reloaded(service, 409)
    assert {name: body[name] for name in ("title", "detail", "cause", "action", "changed", "blamed", "problems")} == {
        "title": "The reload was refused",
        "detail": "The new configuration was refused, and the old one stays.",
        "cause": "GREETING is rude.",
        "action": "Take the change back, or restart with it.",
        "changed": ["GREETING"],
        "blamed": "app Greeter",
        "problems": [],
    }


async def test_the_text_of_an_exception_stays_inside(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        (tmp_path / ".env").write_text("GREETING=Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch\n")
        body = await reloaded(service, 409)
        async with service.health.get("/config") as response:
            assert "hunter2" not in await response.text()
    assert {name: body[name] for name in ("title", "detail", "cause", "action", "generation", "blamed")} == {
        "title": "The reload was undone",
        "detail": "App Greeter failed in config_changed.",
        "cause": "ValueError was raised.",
        "action": "The log of the process says more.",
        "generation": 1,
        "blamed": "app Greeter",
    }


async def test_those_who_ask_meanwhile_share_one_more_reload(tmp_path: Path) -> None:
    app = Greeter()
    async with serving(tmp_path, app) as service:
        app.go_on.clear()
        (tmp_path / ".env").write_text("GREETING=one\n")
        first = asyncio.create_task(reloaded(service))
        async with asyncio.timeout(10):
            while service.runtime.config.generation == 1:
                await asyncio.sleep(0.001)
        (tmp_path / ".env").write_text("GREETING=two\n")
        others = [asyncio.create_task(reloaded(service)) for _ in range(5)]
        async with service.health.get("/config") as response:
            assert (await body_of(response))["generation"] == 2
        app.go_on.set()
        assert (await first)["generation"] == 2
        answers = await asyncio.gather(*others)
        assert all(answer["generation"] == 3 for answer in answers)
        assert [answer["outcome"] for answer in answers].count("applied") >= 1
    assert app.told == ["one", "two"]


async def test_only_the_methods_that_are_documented_are_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        for method, path in (("POST", "/config"), ("GET", "/config/reload"), ("PUT", "/config/reload")):
            async with service.health.request(method, path, headers=BEARER) as response:
                assert response.status == 405
        async with service.health.head("/config", headers=BEARER) as response:
            assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")


def test_the_commands_on_the_page_do_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(
        "from eggycore import hookimpl\n\n\n@hookimpl\ndef register_settings():\n    return []\n"
    )
    (tmp_path / "pyproject.toml").write_text('[tool.eggycore]\napp = "hello"\nplugins = []\n')
    section = PAGE.read_text(encoding="utf-8").partition("## Reload over HTTP\n")[2].partition("\n## ")[0]
    assert section.count("$ curl") == 4
    assert Walkthrough(tmp_path).follow(section) == []
