"""Each distribution builds a wheel that works where nothing but its own requirements is installed."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packaging.conftest import Environment

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml"))

HELLO = """
from eggycore import hookimpl

async def hello(request):
    return {"hello": "world"}

@hookimpl
def register_services(runtime):
    runtime.http.get("/", hello)
"""


@pytest.mark.parametrize("name", ["eggycore", *PLUGINS])
def test_a_wheel_holds_its_package_typed_and_licensed_and_nothing_else(wheelhouse: Path, name: str) -> None:
    package = name.replace("-", "_")
    (wheel,) = wheelhouse.glob(f"{package}-*.whl")
    with ZipFile(wheel) as archive:
        files = archive.namelist()
        (metadata,) = (file for file in files if file.endswith(".dist-info/METADATA"))
        assert "License-Expression: Apache-2.0" in archive.read(metadata).decode().splitlines()
    assert f"{package}/py.typed" in files
    assert {file.split("/")[0] for file in files} == {package, metadata.split("/")[0]}
    assert not [file for file in files if "/tests/" in file]


def test_the_core_runs_an_app_with_nothing_else_installed(install: Callable[..., Environment]) -> None:
    environment = install("eggycore")
    (environment.folder / "hello.py").write_text(HELLO)
    assert environment.plugins() == {}
    with environment.serving("hello") as base, urllib.request.urlopen(f"{base}/") as response:
        assert json.load(response) == {"hello": "world"}


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_runs_beside_the_core_alone(install: Callable[..., Environment], name: str) -> None:
    environment = install(name)
    (environment.folder / "hello.py").write_text(HELLO)
    plugin = name.removeprefix("eggycore-")
    assert {row["name"]: row["state"] for row in environment.plugins().values()} == {plugin: "active"}
    with environment.serving("hello", "--plugins", plugin) as base, urllib.request.urlopen(f"{base}/") as response:
        assert response.status == 200
