"""A plugin from outside the repository's packages: installed with pip, listed, run, and left out again."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.packaging.conftest import EXAMPLE, Environment

APP = """
from eggycore import hookimpl

async def hello(request):
    return {"hello": "world"}

@hookimpl
def register_services(runtime):
    runtime.http.get("/", hello)
"""


def test_a_third_party_plugin_is_listed_runs_and_is_left_out_with_x(install: Callable[..., Environment]) -> None:
    environment = install("eggycore-heartbeat")
    (environment.folder / "hello.py").write_text(APP)

    row = environment.plugins()["heartbeat"]
    assert (row["dist"], row["version"], row["state"]) == ("eggycore-heartbeat", "1.0.0", "active")

    with environment.serving("hello") as base:
        assert urllib.request.urlopen(f"{base}/heartbeat").status == 200
        assert (environment.folder / "heartbeat.txt").exists()
    assert not (environment.folder / "heartbeat.txt").exists()

    assert environment.plugins("-x", "heartbeat")["heartbeat"]["state"] == "not selected"
    with environment.serving("hello", "-x", "heartbeat") as base:
        assert urllib.request.urlopen(f"{base}/").status == 200
        assert not (environment.folder / "heartbeat.txt").exists()


def test_the_tests_of_a_third_party_plugin_pass_beside_the_wheels(
    install: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = install("eggycore-heartbeat[test]")
    environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE, cwd=tmp_path)
