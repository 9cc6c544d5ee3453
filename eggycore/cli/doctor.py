"""`eggycore doctor`: looks for what would keep the app from running, and packs it up for whoever helps."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from eggycore.cli.examination import Examination, Row, State
from eggycore.cli.options import RuntimeOptions, echo_json, json_option, run_options

__all__ = ["command", "render_rows"]

_MARKS: dict[State, str] = {"ok": "ok", "warning": "warning", "red": "RED", "skipped": "skipped"}


@click.command(epilog="Example: eggycore doctor --replicas 3 --bundle doctor.tar.gz")
@run_options
@json_option
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="How many replicas of the app run at once, for limits that they share. [1]",
)
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Pack everything, secrets masked, into this .tar.gz or .zip.",
)
@click.pass_context
def command(ctx: click.Context, options: RuntimeOptions, as_json: bool, replicas: int, bundle: Path | None) -> None:
    """Look for what would keep the app from running.

    Plugins, configuration, plan, ports and log are looked at, everything is opened once and closed again; meanwhile
    every health check is run once, and what was opened is asked how it is. Exit code 1 when something is red.
    """
    if bundle is not None and not bundle.name.endswith((".tar.gz", ".zip")):
        raise click.BadParameter("must end in .tar.gz or .zip.", ctx, param_hint="--bundle")
    if bundle is not None and not bundle.parent.is_dir():
        raise click.BadParameter(f"there is no folder {bundle.parent}.", ctx, param_hint="--bundle")
    examination = Examination(options, replicas=replicas)
    rows = examination.rows()
    if as_json:
        echo_json([asdict(row) for row in rows])
    else:
        click.echo(render_rows(rows))
    if bundle is not None:
        from eggycore.cli.bundle import write_bundle

        write_bundle(bundle, examination, render_rows(rows))
        click.echo(f"Everything, secrets masked, is in {bundle}.", err=True)
    ctx.exit(1 if any(row.state == "red" for row in rows) else 0)


def render_rows(rows: list[Row]) -> str:
    """The rows as lines for a terminal, with what to do below what is not right."""
    width = max(len(row.subject) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{_MARKS[row.state]:<8} {row.subject:<{width}}  {row.text}".rstrip())
        if row.action:
            lines.append(f"{'':<8} {'':<{width}}  -> {row.action}")
    return "\n".join(lines)
