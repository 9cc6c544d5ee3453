"""`eggycore plugins`: what is installed, and how it fares."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from eggycore.cli.errors import tell
from eggycore.cli.options import RuntimeOptions, echo_json, json_option, plugin_options
from eggycore.cli.table import table
from eggycore.plugin_errors import PluginErrors
from eggycore.plugins import PluginRecord, Plugins, Selection
from eggycore.project import Project, ProjectError

__all__ = ["command", "plugin_rows"]


@click.command(epilog="Example: eggycore plugins --json")
@plugin_options
@json_option
def command(options: RuntimeOptions, as_json: bool) -> None:
    """List the installed plugins and how they fare.

    Selected plugins are imported and asked for their settings; whatever is wrong with them is shown, and the exit
    code is 0 all the same.
    """
    records = _loaded(options).records
    if as_json:
        echo_json(plugin_rows(records))
    elif records:
        columns = ("name", "dist", "version", "state", "time", "reason")
        click.echo(table(columns, [_cells(record) for record in records]))
    else:
        click.echo("No plugin is installed. Install one, for example: pip install eggycore-db")


def plugin_rows(records: tuple[PluginRecord, ...]) -> list[dict[str, object]]:
    """The plugins as plain data."""
    return [
        {
            "name": record.name,
            "dist": record.dist,
            "version": record.version,
            "state": record.state,
            "reason": record.reason,
            "hooks": list(record.hooks),
            "timings": {step: round(seconds, 6) for step, seconds in record.timings.items()},
        }
        for record in records
    ]


def _cells(record: PluginRecord) -> tuple[str, ...]:
    """The record's cells in the list for people; its time is that of its import and of its settings."""
    took = f"{sum(record.timings.values()) * 1000:.1f} ms" if record.timings else ""
    return record.name, record.dist, record.version, record.state, took, record.reason or ""


def _loaded(options: RuntimeOptions) -> Plugins:
    """The plugins after an attempt to load them; the app is left out, it is not what is listed."""
    try:
        project = Project.read(Path.cwd())
    except ProjectError as error:
        tell(error, verbose=options.verbose)
        project = Project(folder=Path.cwd())
    plugins = Plugins(Selection.read(options.plugins, options.exclude, os.environ, project), app=_NoApp())
    try:
        with redirect_stdout(sys.stderr):  # what a plugin prints on import is no part of the list
            plugins.load()
    except PluginErrors as error:
        if options.verbose:
            tell(error, verbose=True)
    return plugins


class _NoApp:
    """An app without hooks."""
