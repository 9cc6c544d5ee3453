"""A mounted ConfigMap in a real runtime: its states arrive whole and soon, and what is wrong with one is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eggycore import HealthCheck, Initializer, Runtime, Service, Settings, env, hookimpl
from eggycore.config import Secret
from eggycore.config.core import Config
from eggycore.diagnostics import diagnose, render
from eggycore.testing import running
from eggycore.types import Change, Control
from eggycore_k8s_watch import mounted
from eggycore_k8s_watch.mounted import CHECK, mount_check, mount_initializer
from tests.servers import Volume

SOON = 1.0
"""Seconds from a swap to config_changed."""


class Rates(Settings):
    limit: int = env("LIMIT", default=1, ge=1, reload=True, doc="A number.")
    label: str = env("LABEL", default="one", reload=True, doc="The same number in words.")
    place: str = env("PLACE", default="here", doc="What only changes with a restart.")
    password: Secret[str] = env("RATES_PASSWORD", default="none", reload=True, doc="What nobody may see.")


class App:
    """Keeps what it is told, with the time."""

    def __init__(self, folder: Path, mounts: Path | None = None) -> None:
        self.told: list[tuple[float, int, str]] = []
        self.passwords: list[str] = []
        self.at_start: list[int] = []
        self._folder, self._mounts = folder, mounts

    @hookimpl
    def register_settings(self) -> type[Settings]:
        return Rates

    @hookimpl
    def init_infra(self, runtime: Runtime) -> Iterator[Initializer[Any]]:
        yield mount_initializer(runtime, self._folder, **({} if self._mounts is None else {"mounts": self._mounts}))

    @hookimpl
    def register_services(self, runtime: Runtime) -> Service:
        async def run(control: Control) -> None:
            self.at_start.append(runtime.config[Rates].limit)
            control.started()
            await control.stopping.wait()

        return Service(name="work", run=run)

    @hookimpl
    def register_health_checks(self, runtime: Runtime) -> HealthCheck:
        return mount_check(runtime)

    @hookimpl
    def config_changed(self, change: Change) -> None:
        rates = change.new[Rates]
        self.told.append((time.monotonic(), rates.limit, rates.label))
        self.passwords.append(rates.password.reveal())


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is logged: the message, and the reason."""
    kept: list[tuple[str, str]] = []

    class Log:
        @staticmethod
        def warn(message: str, **fields: Any) -> None:
            kept.append((message, ""))

        @staticmethod
        def error(message: str, **fields: Any) -> None:
            kept.append((message, fields["reason"]))

    monkeypatch.setattr(mounted, "log", Log)
    return kept


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.002)


def state_of(runtime: Runtime) -> tuple[str, str]:
    """Of the check: its state, and why."""
    details: Any = runtime.health.report_dict(verbose=True)["details"]
    return details[CHECK]["status"], details[CHECK].get("reason", "")


async def test_the_first_state_is_there_before_any_service_starts(tmp_path: Path) -> None:
    Volume(tmp_path, {"LIMIT": "7\n", "production.yaml": "limit: 9\n", "base.yaml": "label: seven\n"})
    app = App(tmp_path)
    async with running(app) as service:
        assert app.at_start == [7]
        assert service.runtime.config[Rates].label == "seven"


async def test_the_plugin_follows_the_folder_that_its_settings_name(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {"LOG_LEVEL": "error"})
    settings = {"ENABLE_K8S_CONFIG_WATCH": "true", "K8S_CONFIG_DIR": str(tmp_path), "K8S_LEADERSHIP": "alone"}
    async with running(plugins=["k8s-watch"], settings=settings) as service:
        assert service.runtime.config[Config].log_level == "error"
        await asyncio.to_thread(volume.write, {"LOG_LEVEL": "warn"})
        await until(lambda: service.runtime.config[Config].log_level == "warn")
        assert state_of(service.runtime) == ("UP", "")
        await asyncio.to_thread(volume.write, {"LOG_LEVEL": "loud"})
        await until(lambda: state_of(service.runtime)[0] == "DEGRADED")
        assert service.runtime.config[Config].log_level == "warn"


async def test_a_swap_is_told_within_a_second_and_whole(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {"LIMIT": "1", "LABEL": "1"})
    app = App(tmp_path)
    async with running(app) as service:
        for number in range(2, 8):
            begin = time.monotonic()
            await asyncio.to_thread(volume.write, {"LIMIT": str(number), "LABEL": str(number)})
            await until(lambda number=number: service.runtime.config[Rates].limit == number)
            assert app.told[-1][0] - begin < SOON
    assert all(str(limit) == label for _, limit, label in app.told)
    assert [limit for _, limit, _ in app.told][-6:] == [2, 3, 4, 5, 6, 7]


async def test_a_key_that_comes_and_a_key_that_goes(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {"LIMIT": "2"})
    async with running(App(tmp_path)) as service:
        await asyncio.to_thread(volume.write, {"LABEL": "two"})
        await until(lambda: service.runtime.config[Rates].label == "two")
        assert service.runtime.config[Rates].limit == 1


async def test_a_folder_of_plain_files_is_followed_too(tmp_path: Path) -> None:
    (tmp_path / "LIMIT").write_text("2")
    async with running(App(tmp_path)) as service:
        begin = time.monotonic()
        (tmp_path / "LIMIT").write_text("3")
        await until(lambda: service.runtime.config[Rates].limit == 3)
        assert time.monotonic() - begin < SOON


async def test_what_an_overlay_may_not_set_stays(tmp_path: Path) -> None:
    Volume(tmp_path, {"PLACE": "there", "RATES_PASSWORD": "x", "LIMITT": "3", "LIMIT": "2"})
    async with running(App(tmp_path)) as service:
        rates = service.runtime.config[Rates]
        assert (rates.place, rates.password.reveal(), rates.limit) == ("here", "none", 2)
        ignored = [str(each) for each in service.runtime.config.ignored]
    assert len(ignored) == 3
    assert all(f"ConfigMap mounted at {tmp_path}" in each for each in ignored)


async def test_a_document_that_cannot_be_read_keeps_the_last_good_values(tmp_path: Path, lines: Any) -> None:
    volume = Volume(tmp_path, {"base.yaml": "limit: 2\n"})
    async with running(App(tmp_path)) as service:
        assert state_of(service.runtime) == ("UP", "")
        await asyncio.to_thread(volume.write, {"base.yaml": "limit: 3\n\tlabel: three\n", "LABEL": "three"})
        await until(lambda: state_of(service.runtime)[0] == "DEGRADED")
        reason = state_of(service.runtime)[1]
        assert f"ConfigMap mounted at {tmp_path}, key base.yaml" in reason
        assert reason.endswith("; the last good values are kept")
        rates = service.runtime.config[Rates]
        assert (rates.limit, rates.label) == (2, "one")  # nothing of that state, also not the key that is in order
        ((message, told),) = lines
        assert message == "a mounted ConfigMap is not taken over; its last good values stay"
        assert told == (
            "The configuration has 1 problem.\n\n"
            f"1. ConfigMap mounted at {tmp_path}, key base.yaml, line 2, column 1: indented with a tab.\n"
            "     action: Indent with spaces: YAML allows no tabs there."
        )
        await asyncio.to_thread(volume.write, {"base.yaml": "limit: 3\nlabel: three\n"})
        await until(lambda: state_of(service.runtime) == ("UP", ""))
        assert service.runtime.config[Rates].limit == 3


async def test_a_value_that_is_refused_keeps_the_last_good_configuration(tmp_path: Path) -> None:
    volume = Volume(tmp_path, {"LIMIT": "2"})
    async with running(App(tmp_path)) as service:
        await asyncio.to_thread(volume.write, {"LIMIT": "many"})
        await until(lambda: state_of(service.runtime)[0] == "DEGRADED")
        assert "LIMIT" in state_of(service.runtime)[1]
        assert service.runtime.config[Rates].limit == 2
        await asyncio.to_thread(volume.write, {"LIMIT": "4"})
        await until(lambda: state_of(service.runtime)[0] == "UP")
        assert service.runtime.config[Rates].limit == 4


async def test_it_starts_degraded_with_a_state_that_cannot_be_read(tmp_path: Path, lines: Any) -> None:
    Volume(tmp_path, {"base.yaml": b"\xff"})
    async with running(App(tmp_path)) as service:
        await until(lambda: state_of(service.runtime)[0] == "DEGRADED")
        where = f"ConfigMap mounted at {tmp_path}, key base.yaml"
        kept = "; the last good values are kept"
        assert state_of(service.runtime)[1] == f"{where}: binary data, not text in UTF-8{kept}"
        assert service.runtime.config[Rates].limit == 1


async def test_a_folder_that_vanishes_keeps_its_values_and_may_come_back(tmp_path: Path, lines: Any) -> None:
    folder = tmp_path / "config"
    Volume(folder, {"LIMIT": "2"})
    async with running(App(folder)) as service:
        folder.rename(tmp_path / "away")
        await until(lambda: state_of(service.runtime)[0] == "DEGRADED")
        assert service.runtime.config[Rates].limit == 2
        Volume(folder, {"LIMIT": "3"})
        await until(lambda: service.runtime.config[Rates].limit == 3)
        await until(lambda: state_of(service.runtime)[0] == "UP")


async def test_a_folder_that_is_not_there_fails_the_start(tmp_path: Path) -> None:
    with pytest.raises(mounted.MountMissing) as missing:
        async with running(App(tmp_path / "none")):
            pass
    assert render(diagnose(missing.value)) == (
        f"There is no folder {tmp_path / 'none'}.\n"
        "  cause:  K8S_CONFIG_DIR says that a ConfigMap is mounted there.\n"
        "  action: Mount the ConfigMap there as a volume, or correct K8S_CONFIG_DIR."
    )


async def test_what_has_no_effect_is_said_once(tmp_path: Path, lines: Any) -> None:
    folder = tmp_path / "config"
    volume = Volume(folder, {"LIMIT": "2", "trust.jks": b"\xff"})
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 1 0:1 /..2026_01_01_00_00_00.1/x {folder}/LIMIT ro - ext4 /dev/vda rw\n")
    async with running(App(folder, mounts)) as service:
        await asyncio.to_thread(volume.write, {"LIMIT": "3", "trust.jks": b"\xff"})
        await until(lambda: service.runtime.config[Rates].limit == 3)
    assert [message for message, _ in lines] == [
        f"ConfigMap mounted at {folder}, key trust.jks, is ignored: binary data, not text in UTF-8.",
        f"{folder / 'LIMIT'} is mounted with subPath: Kubernetes never updates it while this pod runs. Mount the whole"
        " ConfigMap as a folder, without subPath.",
    ]


async def test_a_mounted_secret_is_told_within_a_second(tmp_path: Path) -> None:
    secret = Volume(tmp_path / "secret", {"password": "first"})
    app = App(tmp_path)
    settings = {"RATES_PASSWORD_FILE": str(tmp_path / "secret" / "password"), "CONFIG_WATCH": "true"}
    async with running(app, settings=settings, folder=tmp_path) as service:
        assert service.runtime.config[Rates].password.reveal() == "first"
        for text in ("second", "third"):
            begin = time.monotonic()
            await asyncio.to_thread(secret.write, {"password": text})
            await until(lambda text=text: app.passwords[-1:] == [text])
            assert app.told[-1][0] - begin < SOON
