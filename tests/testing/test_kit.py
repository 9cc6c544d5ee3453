"""The test kit itself, where the other tests do not show it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from eggycore import hookimpl
from eggycore.errors import ConfigError
from eggycore.runtime import Runtime
from eggycore.testing import FakeClock, Running, running

RunApp = Callable[..., Awaitable[Running]]


def test_the_pytest_plugin_disturbs_nobody_who_has_no_pytest_asyncio(tmp_path: Path):
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    block = "import sys; sys.modules['pytest_asyncio'] = None; import pytest; sys.exit(pytest.main(['-q']))"
    hidden = "import importlib.metadata as m, importlib.util as u; f = u.find_spec\n"
    hidden += "u.find_spec = lambda name, *more: None if name == 'pytest_asyncio' else f(name, *more)\n"
    done = subprocess.run(
        [sys.executable, "-c", hidden + block],
        cwd=tmp_path,
        env={"PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "eggycore.testing.plugin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_several_runtimes_in_one_test_are_stopped_at_its_end(run_app: RunApp):
    one, other = await run_app(), await run_app()
    assert one.runtime.addresses["HEALTH_CHECK_PORT"] != other.runtime.addresses["HEALTH_CHECK_PORT"]
    assert await one.stop() == 0
    assert (await other.health.get("/readyz")).status == 200


async def test_a_start_that_fails_raises_what_made_it_fail():
    class Broken:
        @hookimpl
        def register_services(self, runtime: Runtime) -> None:
            raise ValueError("no")

    with pytest.raises(Exception, match="Broken failed in register_services"):
        async with running(Broken()):
            pass


async def test_a_runtime_that_ends_during_the_test_raises_its_reason():
    class Failing:
        @hookimpl
        def register_services(self, runtime: Runtime) -> None:
            async def run(control: object) -> None:
                raise ValueError("no")

            from eggycore import Service

            return Service(name="failing", run=run)

    with pytest.raises(ValueError, match="no"):
        async with running(Failing()):
            pass


async def test_wrong_settings_are_refused_as_in_a_process():
    with pytest.raises(ConfigError):
        async with running(settings={"BUSINESS_HTTP_PORT": "many"}):
            pass


async def test_the_process_environment_is_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENVIRONMENT", "production")
    async with running() as service:
        assert service.runtime.environment == "development"


async def test_an_unknown_plugin_name_is_told():
    with pytest.raises(LookupError, match="no installed distribution offers a plugin named 'chache'"):
        async with running(plugins=["chache"]):
            pass


def test_a_fake_clock_moves_only_when_told():
    clock = FakeClock(5.0)
    clock.advance(2.5)
    assert (clock(), clock()) == (7.5, 7.5)
    with pytest.raises(ValueError, match="a clock does not go back"):
        clock.advance(-1)
