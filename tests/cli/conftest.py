"""A folder with an app, and the `eggycore` command in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eggycore.cli import eggycore

Run = Callable[..., Result]
FAKES = Path(__file__).parents[1] / "data" / "fake-plugins"

APP = """
from contextlib import asynccontextmanager

from eggycore import CheckFailed, HealthCheck, Initializer, Secret, Service, Settings, env, hookimpl


class GreetingSettings(Settings):
    greeting: str = env("GREETING", default="hello", doc="What to say.", reload=True)
    token: Secret[str] = env("GREETING_TOKEN", default="kept-from-everybody", doc="Who may say it.")
    broken: bool = env("GREETING_BROKEN", default=False, doc="Whether the greeting fails.")


@asynccontextmanager
async def open_words():
    yield {}


async def greet(control):
    control.started()
    await control.stopping.wait()


@hookimpl
def register_settings():
    return GreetingSettings


@hookimpl
def init_infra(runtime):
    settings = runtime.config[GreetingSettings]

    @asynccontextmanager
    async def open_broken():
        raise RuntimeError(f"cannot greet with {settings.token.reveal()}")
        yield

    return Initializer(name="words", open=open_broken if settings.broken else open_words, provides=dict)


@hookimpl
def register_services(runtime):
    return Service(name="greeter", run=greet, requires=(dict,))


@hookimpl
def register_health_checks(runtime):
    return HealthCheck(name="greeting", check=lambda: None)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder: an app named in pyproject.toml, no plugin selected, ports that disturb nobody."""
    (tmp_path / "eggyapp_greeting.py").write_text(APP)
    (tmp_path / "pyproject.toml").write_text('[tool.eggycore]\napp = "eggyapp_greeting"\nplugins = []\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for variable in ("BUSINESS_HTTP_PORT", "BUSINESS_GRPC_PORT", "HEALTH_CHECK_PORT"):
        monkeypatch.setenv(variable, "0")
    for variable in ("EGGYCORE_PLUGINS", "EGGYCORE_OPTIONAL_PLUGINS", "SERVICE_NAME"):
        monkeypatch.delenv(variable, raising=False)
    before = sys.modules.copy()
    yield tmp_path
    for name in sys.modules.keys() - before.keys():
        if name.startswith(("eggyapp_", "eggy_")):
            del sys.modules[name]


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs the command with these arguments in the folder of the app."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(eggycore, arguments, prog_name="eggycore")

    return run


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Callable[[str], None]:
    """Puts a fake distribution on the path."""
    return lambda name: monkeypatch.syspath_prepend(str(FAKES / name))
