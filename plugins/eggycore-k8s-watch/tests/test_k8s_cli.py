"""`eggycore k8s` on the command line: what it lists, what it refuses, and what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from eggycore_k8s_watch.cli import _KINDS
from eggycore_k8s_watch.manifests import KINDS

kit = import_module("plugins.eggycore-k8s-watch.tests.manifest_world")
world = pytest.fixture(kit.world)


def test_the_command_is_advertised() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["eggycore.commands"] == {"k8s": "eggycore_k8s_watch.cli:group"}


def test_help_lists_both_commands(world) -> None:
    result = world.run("--help")
    assert result.exit_code == 0
    assert "  check      Find where manifests disagree with the app.\n" in result.stdout
    assert "  manifests  Write the manifests of the app.\n" in result.stdout


def test_help_imports_neither_yaml_nor_the_api_client_nor_the_runtime() -> None:
    script = (
        "import sys; import eggycore_k8s_watch.cli;"
        "print([name for name in ('yaml', 'aiohttp', 'eggycore.runtime', 'eggycore_k8s_watch.manifests')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_kinds_on_the_command_line_are_those_that_can_be_made() -> None:
    assert sorted(KINDS) == sorted(_KINDS)


def test_a_kind_that_cannot_be_made_is_refused(world) -> None:
    result = world.run("manifests", "--kind", "Ingress")
    assert result.exit_code == 2
    assert "'Ingress' is not one of" in result.stderr


def test_check_needs_a_file(world) -> None:
    result = world.run("check")
    assert result.exit_code == 2
    assert "Missing argument 'FILE...'" in result.stderr


def test_check_says_which_file_it_cannot_read(world) -> None:
    result = world.run("check", "nowhere.yaml")
    assert result.exit_code == 2
    assert result.stderr == (
        "eggycore: nowhere.yaml cannot be read as Kubernetes manifests.\n"
        "  cause:  There is no such file.\n"
        "  action: Correct the path, or make the file readable for this user.\n"
    )


def test_check_says_that_standard_input_was_empty(world) -> None:
    result = world.run("check", "-", stdin="")
    assert result.exit_code == 2
    assert result.stderr == (
        "eggycore: standard input cannot be read as Kubernetes manifests.\n"
        "  cause:  There is no object.\n"
        "  action: Name the files that kubectl is to apply.\n"
    )


def test_check_says_what_is_wrong_with_the_files_of_the_app(world) -> None:
    (world.folder / "config").mkdir()
    (world.folder / "config" / "base.toml").write_text("log_level = \n")
    result = world.check("apiVersion: v1\nkind: ConfigMap\n")
    assert result.exit_code == 2
    assert "config/base.toml" in result.stderr


def test_findings_as_json_are_whole(world) -> None:
    result = world.check("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {
            "file": "manifests.yaml",
            "line": 1,
            "object": "ConfigMap x",
            "state": "warning",
            "what": "No object here runs the app.",
            "why": "What its pods are given was not compared.",
            "action": "Check the file with the Deployment together with the others.",
        }
    ]
