"""The process-wide configuration, and reading one class of settings without a runtime."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import eggycore.config
from eggycore.config import Config, NoCurrentConfig, current, must_read_from_env, read_from_env
from eggycore.diagnostics import diagnose, render


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "_current", None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for variable in Config.__variables__:
        monkeypatch.delenv(variable.key, raising=False)
    yield tmp_path


def test_what_was_set_is_what_everyone_gets() -> None:
    config = Config(service_name="forms")
    eggycore.config.set(config)
    with ThreadPoolExecutor(4) as pool:
        assert all(found is config for found in pool.map(lambda _: eggycore.config.get(), range(100)))


def test_getting_what_nobody_set_is_explained() -> None:
    with pytest.raises(NoCurrentConfig) as caught:
        eggycore.config.get()
    assert render(diagnose(caught.value)) == (
        "There is no current configuration.\n"
        "  cause:  Nothing was set in this process yet.\n"
        "  action: Call eggycore.config.set(read_from_env(Config)) first, "
        "or read runtime.config of the runtime at hand."
    )


def test_read_from_env_reads_the_process_environment_and_the_dotenv_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("SERVICE_NAME=from-file\nENVIRONMENT=staging\n")
    monkeypatch.setenv("SERVICE_NAME", "from-environment")
    config = read_from_env(Config)
    assert (config.service_name, config.environment) == ("from-environment", "staging")


def test_read_from_env_reads_only_the_mapping_it_is_given(folder: Path) -> None:
    (folder / ".env").write_text("ENVIRONMENT=staging\n")
    assert read_from_env(Config, {"SERVICE_NAME": "forms"}).environment == "development"


def test_must_read_from_env_ends_the_process_with_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        must_read_from_env(Config)
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. SERVICE_NAME: required, and not set.\n"
        "     cause:  Declared by eggycore.\n"
        "     action: Set it in the environment, in .env or with --set.\n"
    )


def test_must_read_from_env_returns_what_is_right(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_NAME", "forms")
    assert must_read_from_env(Config).service_name == "forms"
