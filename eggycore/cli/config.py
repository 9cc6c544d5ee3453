"""`eggycore config`: what is set, where it comes from, whether it can be used, and what could be set."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import click

from eggycore.cli.config_compare import diff
from eggycore.cli.config_pages import docs, example, schema
from eggycore.cli.config_running import reload, running_status
from eggycore.cli.config_tables import render_config, render_status
from eggycore.cli.options import RuntimeOptions, echo_json, json_option, runtime_options
from eggycore.config import Configuration
from eggycore.errors import ConfigError

if TYPE_CHECKING:
    from eggycore.config import Entry

__all__ = ["command", "render_config"]


@click.group("config", epilog="Example: eggycore config explain BUSINESS_HTTP_PORT")
def command() -> None:
    """Show, explain, check, compare and reload the configuration. Secrets are masked."""


@command.command(
    short_help="Show every variable, its value and its origin.", epilog="Example: eggycore config show --json"
)
@runtime_options
@json_option
@click.option(
    "--running",
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    help="Ask the process at this URL, by default that at HEALTH_CHECK_PORT of this machine, what it runs with.",
)
def show(options: RuntimeOptions, as_json: bool, running: str | None) -> None:
    """Show every variable with its value and where it comes from.

    Without --running, what a process would read that is started now. With it, what a running process has read; it
    is shown MANAGEMENT_TOKEN, as it is set here.
    """
    if running is not None:
        status, source = running_status(options, running)
    else:
        from eggycore.config.status import status_dict

        status, source = status_dict(options.runtime().configure()), ""
    if as_json:
        echo_json(status)
    else:
        click.echo(render_status(status, source))


@command.command(short_help="Explain one variable.", epilog="Example: eggycore config explain BUSINESS_HTTP_PORT")
@click.argument("key")
@runtime_options
def explain(options: RuntimeOptions, key: str) -> None:
    """Explain one variable: what it means, its value, and everything that was said about it.

    KEY is its name, or that as files of configuration nest it: log.level. What is wrong with other variables does
    not matter.
    """
    configuration, problems = options.runtime().examine()
    name = _name_of(key)
    if any(name in one.variable.names for own, one in configuration.owned.items() if own not in configuration.values):
        raise ConfigError(problems)
    explanation = configuration.explain(name)
    entry = explanation.entry
    takes = configuration.owned[entry.key].variable.expected
    said = [
        f"  {'->' if candidate.chosen else '  '} {candidate.shown}  ({candidate.origin})"
        for candidate in explanation.candidates
    ]
    lines = (
        f"{entry.key} = {entry.shown}",
        entry.doc,
        "",
        f"declared by: {entry.owner}",
        f"type:        {entry.type_name}{f', in {entry.unit}' if entry.unit else ''}",
        *([f"takes:       {takes}"] if takes != entry.type_name else []),
        *([f"other names: {', '.join(entry.also)}"] if entry.also else []),
        f"default:     {f'the value of {entry.inherits}, else ' if entry.inherits else ''}{entry.default_shown}",
        f"on reload:   {_on_reload(entry)}",
        "sources, the strongest first:",
        *said,
    )
    click.echo("\n".join(lines))
    if problems:
        click.echo("warning: The configuration cannot be used: eggycore config check says why.", err=True)


def _name_of(key: str) -> str:
    """The name that a spelling stands for in files of configuration."""
    return key.replace(".", "_").replace("-", "_").upper()


def _on_reload(entry: Entry) -> str:
    if entry.reloadable:
        return "taken over by the running process"
    if entry.contents:
        return "what the file holds is taken over by the running process, another path waits for a restart"
    return "waits for a restart"


@command.command(
    short_help="Check that the configuration can be used.",
    epilog="Example: eggycore config check --environment production",
)
@runtime_options
@click.option(
    "--environment", metavar="NAME", help="Check as if ENVIRONMENT were this, with the files of that environment."
)
def check(options: RuntimeOptions, environment: str | None) -> None:
    """Check the configuration of the app and of all selected plugins; all problems come in one report.

    Nothing is opened or started. Exit code 2 when something is wrong; warnings go to stderr and change nothing.
    """
    configuration, problems = options.runtime().examine(environment)
    warnings = tuple(_warnings(configuration, {problem.key for problem in problems}))
    if problems:
        raise ConfigError(problems, warnings=warnings)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    entries = configuration.entries()
    changed = sum(entry.origin != "default" for entry in entries)
    where = f" in {environment}" if environment is not None else ""
    click.echo(f"The configuration can be used{where}: {len(entries)} variables, {changed} of them set.")


def _warnings(configuration: Configuration, reported: Collection[str]) -> Iterator[str]:
    from eggycore.config.exposed import exposed_secrets

    yield from (str(one) for one in configuration.unknown if one.key not in reported)
    yield from map(str, (*configuration.ignored, *exposed_secrets(configuration)))


for one in (diff, docs, example, reload, schema):
    command.add_command(one)
