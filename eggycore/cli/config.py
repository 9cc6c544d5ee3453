"""`eggycore config`: what is set, where it comes from, whether it can be used, and what could be set."""

from __future__ import annotations

from dataclasses import asdict

import click

from eggycore.cli.options import RuntimeOptions, echo_json, json_option, runtime_options
from eggycore.cli.table import table
from eggycore.config import Configuration, env_example
from eggycore.errors import ConfigError

__all__ = ["command", "render_config"]


@click.group("config", epilog="Example: eggycore config explain BUSINESS_HTTP_PORT")
def command() -> None:
    """Show, explain and check the configuration. Secrets are masked."""


@command.command(
    short_help="Show every variable, its value and its origin.", epilog="Example: eggycore config show --json"
)
@runtime_options
@json_option
def show(options: RuntimeOptions, as_json: bool) -> None:
    """Show every variable with its value and where it comes from."""
    configuration = options.runtime().configure()
    if as_json:
        echo_json([asdict(entry) for entry in configuration.entries()])
    else:
        click.echo(render_config(configuration))


@command.command(short_help="Explain one variable.", epilog="Example: eggycore config explain BUSINESS_HTTP_PORT")
@click.argument("key")
@runtime_options
def explain(options: RuntimeOptions, key: str) -> None:
    """Explain one variable: what it means, its value, and everything that was said about it."""
    explanation = options.runtime().configure().explain(key)
    entry = explanation.entry
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
        *([f"other names: {', '.join(entry.also)}"] if entry.also else []),
        f"default:     {f'the value of {entry.inherits}, else ' if entry.inherits else ''}{entry.default_shown}",
        f"on reload:   {'taken over by the running process' if entry.reloadable else 'waits for a restart'}",
        "sources, the strongest first:",
        *said,
    )
    click.echo("\n".join(lines))


@command.command(
    short_help="Check that the configuration can be used.", epilog="Example: eggycore config check && eggycore run"
)
@runtime_options
def check(options: RuntimeOptions) -> None:
    """Check the configuration of the app and of all selected plugins; all problems come in one report."""
    configuration = options.runtime().configure()
    for near_miss in configuration.unknown:
        click.echo(f"warning: {near_miss}", err=True)
    entries = configuration.entries()
    changed = sum(entry.origin != "default" for entry in entries)
    click.echo(f"The configuration can be used: {len(entries)} variables, {changed} of them set.")


@command.command(
    "env-example",
    short_help="Write an example .env file.",
    epilog="Example: eggycore config env-example > .env.example",
)
@runtime_options
def example(options: RuntimeOptions) -> None:
    """Write a .env file that names every variable of the app and of the selected plugins."""
    runtime = options.runtime()
    try:
        runtime.configure()
    except ConfigError:
        if not runtime.declared:
            raise
        # what is missing or wrong is what the file helps to set
    app = runtime.plugins.app
    click.echo(env_example(runtime.declared, known={"SERVICE_NAME": app.name} if app else {}), nl=False)


def render_config(configuration: Configuration) -> str:
    """The variables as lines for a terminal, one block for each owner."""
    entries = configuration.entries()
    owners = dict.fromkeys(entry.owner for entry in entries)
    blocks = []
    for owner in owners:
        rows = [[entry.key, entry.shown, entry.origin] for entry in entries if entry.owner == owner]
        blocks.append(f"{owner}\n{table(('variable', 'value', 'from'), rows)}")
    return "\n\n".join(blocks)
