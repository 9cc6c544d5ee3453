"""The list of commands costs little, lies never, and no plugin can break it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import Result

from eggycore.cli.group import COMMANDS

Run = Callable[..., Result]


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for sub_name, sub_command in command.commands.items():
            yield from leaves(sub_command, f"{name} {sub_name}")


def every_command() -> list[tuple[str, click.Command]]:
    return [
        found for name, builtin in COMMANDS.items() for found in leaves(import_module(builtin.module).command, name)
    ]


def offer_command(folder: Path, name: str, value: str, dist: str) -> None:
    info = folder / f"{dist}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {dist}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[eggycore.commands]\n{name} = {value}\n")


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path for distributions."""
    place = folder / "installed"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))
    return place


def test_help_lists_every_command_with_its_own_summary(run: Run) -> None:
    text = run("--help").output
    for name, builtin in COMMANDS.items():
        assert f"  {name:<10}  {builtin.summary}\n" in text
        command = import_module(builtin.module).command
        assert (command.help or "").splitlines()[0].startswith(builtin.summary.removesuffix("."))


@pytest.mark.parametrize(("name", "command"), every_command(), ids=[name for name, _ in every_command()])
def test_every_command_shows_an_example_in_its_help(name: str, command: click.Command, run: Run) -> None:
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert "Example:" in result.output
    assert name in result.output


def test_help_imports_no_sub_command_and_no_plugin() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from eggycore.cli import eggycore;"
        "assert CliRunner().invoke(eggycore, ['--help']).exit_code == 0;"
        "ours = {name for name in sys.modules if name.startswith('eggycore')};"
        "heavy = {'asyncio', 'aiohttp', 'pluggy', 'importlib_metadata', 'packaging', 'structlog', 'orjson'};"
        "print(*sorted(ours)); print(*sorted(heavy & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours, heavy = run.stdout.split("\n")[:2]
    assert ours.split() == [
        "eggycore",
        "eggycore.cli",
        "eggycore.cli.errors",
        "eggycore.cli.group",
        "eggycore.cli.plugin_commands",
        "eggycore.entry_points",
    ]
    assert heavy == ""


def test_an_unknown_command_gets_a_guess(run: Run) -> None:
    result = run("plna")
    assert result.exit_code == 2
    assert "No such command 'plna'. Did you mean 'plan'?" in result.stderr


def test_the_command_of_a_plugin_is_listed_without_importing_it_and_runs(run: Run, installed: Path) -> None:
    (installed / "eggyapp_tool.py").write_text(
        "import click\n@click.command()\ndef tool():\n    click.echo('at your service')\n"
    )
    offer_command(installed, "tool", "eggyapp_tool:tool", "tooling")
    offered = run("--help").output.partition("Commands of plugins:\n")[2]  # after those of installed plugins
    assert "  tool  From tooling 1.0.\n" in offered
    assert "eggyapp_tool" not in sys.modules
    assert run("tool").output == "at your service\n"


def test_a_broken_command_of_a_plugin_says_so_when_it_is_called(run: Run, installed: Path) -> None:
    offer_command(installed, "tool", "eggyapp_missing:tool", "tooling")
    assert run("--help").exit_code == 0
    result = run("tool", "--some", "option")
    assert result.exit_code == 1
    assert (
        result.stderr
        == """\
eggycore: The command 'tool' of tooling 1.0 cannot be imported.
  cause:  ModuleNotFoundError: No module named 'eggyapp_missing'.
  action: Repair or upgrade tooling; every other command works.
"""
    )
    assert "Traceback" in run("tool", "-v").stderr


def test_a_command_that_is_none_is_broken_too(run: Run, installed: Path) -> None:
    offer_command(installed, "tool", "json:dumps", "tooling")
    assert "cause:  TypeError: json:dumps is not a click command." in run("tool").stderr


def test_two_commands_of_one_name_are_shown_as_broken(run: Run, installed: Path) -> None:
    for dist in ("one", "two"):
        offer_command(installed, "tool", "json:dumps", dist)
    assert "tool  From one 1.0 and two 1.0. Broken: two commands of one name.\n" in run("--help").output
    result = run("tool")
    assert (
        result.stderr
        == """\
eggycore: The command 'tool' is offered by one 1.0 and two 1.0.
  cause:  Nothing says which of them is meant.
  action: Uninstall all but one, for example: pip uninstall two
"""
    )


def test_a_command_named_like_one_of_ours_is_shown_as_broken_and_ours_is_called(run: Run, installed: Path) -> None:
    offer_command(installed, "version", "json:dumps", "usurper")
    assert "version  From usurper 1.0. Broken: eggycore has a command of this name.\n" in run("--help").output
    assert run("version").output.startswith("eggycore ")


def test_version_is_a_command_and_an_option(run: Run) -> None:
    from eggycore import __version__

    assert run("--version").output == f"eggycore {__version__}\n"
    lines = run("version").output.splitlines()
    assert lines[0] == f"eggycore {__version__}"
    assert [line.split()[0] for line in lines] == ["eggycore", "python", "platform"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(shell: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    script = run("completion", shell).output
    assert f"_EGGYCORE_COMPLETE={shell}_complete" in script
    assert run("completion").output == script


def test_completion_of_an_unknown_shell_is_a_usage_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    result = run("completion")
    assert result.exit_code == 2
    assert "Name your shell: eggycore completion [bash|zsh|fish]." in result.stderr


def test_completion_knows_the_commands_and_survives_a_broken_one(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.shell_completion import ShellComplete

    from eggycore.cli import eggycore

    offer_command(installed, "tool", "eggyapp_missing:tool", "tooling")
    complete = ShellComplete(eggycore, {}, "eggycore", "_EGGYCORE_COMPLETE")
    offered = {item.value for item in complete.get_completions([], "")}
    assert offered >= {*COMMANDS, "tool"}, "and those of installed plugins"
    assert [item.value for item in complete.get_completions(["config"], "e")] == ["env-example", "explain"]
