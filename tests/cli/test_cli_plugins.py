"""`eggycore plugins` shows every plugin, whatever is wrong with it or with anything else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
Fake = Callable[[str], None]


def rows(result: Result) -> dict[str, dict[str, object]]:
    assert result.exit_code == 0
    return {row["name"]: row for row in json.loads(result.stdout)}


def test_a_plugin_is_a_row_with_everything_a_program_wants(run: Run, fake: Fake) -> None:
    fake("good")
    row = rows(run("plugins", "--json", "--plugins", "good"))["good"]
    timings = row.pop("timings")
    assert isinstance(timings, dict)
    assert timings.keys() == {"import", "register_settings"}
    assert row == {
        "name": "good",
        "dist": "eggycore-good",
        "version": "1.2.0",
        "state": "active",
        "reason": "",
        "hooks": [
            "config_changed",
            "init_infra",
            "register_health_checks",
            "register_services",
            "register_settings",
        ],
    }


def test_states_tell_what_is_selected_and_what_is_broken(run: Run, fake: Fake) -> None:
    for name in ("good", "too-new", "import-error"):
        fake(name)
    found = rows(run("plugins", "--json", "--plugins", "good,toonew"))
    assert {name: found[name]["state"] for name in ("good", "toonew", "importerror")} == {
        "good": "active",
        "toonew": "broken",
        "importerror": "not selected",
    }
    assert str(found["toonew"]["reason"]).startswith("Plugin toonew (eggycore-toonew 3.0) does not work with this")


def test_an_excluded_plugin_is_not_selected(run: Run, fake: Fake) -> None:
    fake("good")
    assert rows(run("plugins", "--json", "--plugins", "good", "-x", "good"))["good"]["state"] == "not selected"


def test_the_list_for_people_says_how_long_each_plugin_took(run: Run, fake: Fake) -> None:
    for name in ("good", "import-error"):
        fake(name)
    header, *lines = run("plugins", "--plugins", "good").stdout.splitlines()
    assert header.split() == ["NAME", "DIST", "VERSION", "STATE", "TIME", "REASON"]
    shown = {line.split()[0]: line for line in lines}
    assert re.fullmatch(r"good +eggycore-good +1\.2\.0 +active +\d+\.\d ms", shown["good"])
    assert re.fullmatch(r"importerror +eggycore-importerror +1\.0 +not selected", shown["importerror"])


def test_an_unknown_name_is_a_broken_row(run: Run) -> None:
    row = rows(run("plugins", "--json", "--plugins", "tea"))["tea"]
    assert row["state"] == "broken"
    assert str(row["reason"]).startswith("Plugin 'tea' is not installed.")


def test_what_a_plugin_prints_on_import_does_not_spoil_the_json(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "eggy_loud.py").write_text(
        "from eggycore import hookimpl\nprint('hello there')\n@hookimpl\ndef register_services(runtime): ...\n"
    )
    info = folder / "loud-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[eggycore.plugins]\nloud = eggy_loud\n")
    monkeypatch.syspath_prepend(str(folder))
    result = run("plugins", "--json", "--plugins", "loud")
    assert rows(result)["loud"]["state"] == "active"
    assert result.stderr == "hello there\n"


def test_a_project_that_cannot_be_read_is_told_and_the_list_comes_all_the_same(
    run: Run, fake: Fake, folder: Path
) -> None:
    fake("good")
    (folder / "pyproject.toml").write_text("[tool.eggycore\n")
    result = run("plugins", "--json")
    assert rows(result)["good"]["state"] == "active"
    assert result.stderr.startswith(f"eggycore: {folder}/pyproject.toml cannot be used.\n  cause:  It is not TOML")


def test_the_traceback_comes_only_when_asked_for(run: Run, fake: Fake) -> None:
    fake("import-error")
    quiet = run("plugins", "--plugins", "importerror")
    assert quiet.stderr == ""
    assert "importerror  eggycore-importerror  1.0      broken" in quiet.stdout
    assert "Traceback" in run("plugins", "--plugins", "importerror", "-v").stderr


def test_an_empty_list_says_how_to_install_a_plugin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eggycore.entry_points.find", lambda group, path=None: [])
    assert run("plugins").stdout == "No plugin is installed. Install one, for example: pip install eggycore-db\n"
