"""The table of sub-commands, and the group that imports one when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NamedTuple

import click

from eggycore import __version__
from eggycore.cli.errors import reporting

__all__ = ["COMMANDS", "Builtin", "Commands", "eggycore", "main"]

THREADS_MAY_TAKE = 2.0
"""Seconds that threads which a plugin or the app left behind may hold up the exit."""


class Builtin(NamedTuple):
    """A sub-command of eggycore itself: where it lives, and its line in the list of commands."""

    module: str
    summary: str


COMMANDS = {
    "run": Builtin("eggycore.cli.run", "Run an app."),
    "plugins": Builtin("eggycore.cli.plugins", "List the installed plugins and how they fare."),
    "plan": Builtin("eggycore.cli.plan", "Show what would be opened and started, and in which order."),
    "config": Builtin("eggycore.cli.config", "Show, explain, check, compare and reload the configuration."),
    "doctor": Builtin("eggycore.cli.doctor", "Look for what would keep the app from running."),
    "probe": Builtin("eggycore.cli.probe", "Ask a running process how it is; for container health checks."),
    "version": Builtin("eggycore.cli.version", "Show the versions of eggycore, Python and the platform."),
    "completion": Builtin("eggycore.cli.completion", "Print the script that completes commands in your shell."),
}


class Commands(click.Group):
    """Knows the names of all commands, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """eggycore's own commands, then those of plugins."""
        from eggycore.cli.plugin_commands import plugin_commands

        return [*COMMANDS, *sorted(plugin_commands().keys() - COMMANDS.keys())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; a plugin's command that is broken says so when it is called."""
        if builtin := COMMANDS.get(cmd_name):
            command: click.Command = import_module(builtin.module).command
            return command
        from eggycore.cli.plugin_commands import load_command

        return load_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called; an unknown one gets a guess."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from eggycore.diagnostics import did_you_mean

            guess = did_you_mean(args[0], self.list_commands(ctx))
            ctx.fail(f"No such command {args[0]!r}.{guess}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing one."""
        from eggycore.cli.plugin_commands import plugin_commands

        with formatter.section("Commands"):
            formatter.write_dl([(name, builtin.summary) for name, builtin in COMMANDS.items()])
        if offered := plugin_commands():
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, command.summary) for name, command in sorted(offered.items())])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises on purpose is told on stderr and becomes the exit code."""
        with reporting(ctx):
            return super().invoke(ctx)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: eggycore run my_app --plugins db,cache",
)
@click.version_option(__version__, message="eggycore %(version)s")
def eggycore() -> None:
    """Run Python services made of plugins."""


def main() -> None:
    """The entry point of the `eggycore` script; exits the process."""
    _hold_standard_streams()
    try:
        eggycore(prog_name="eggycore")
    except SystemExit as leaving:
        if "eggycore.process" in sys.modules:
            from eggycore.process import exit_within

            exit_within(THREADS_MAY_TAKE, leaving.code if isinstance(leaving.code, int) else 1)
        raise


def _hold_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed: a file opened there later would get what is meant for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free: this one
