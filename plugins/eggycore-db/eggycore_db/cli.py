"""`eggycore db`: migrations and what belongs to them, on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from eggycore.cli.options import RuntimeOptions, echo_json, json_option, runtime_options

if TYPE_CHECKING:
    from eggycore_db.migrations.state import Unfinished

__all__ = ["group"]

F = TypeVar("F", bound=Callable[..., Any])

# What needs peewee is imported in the commands: `eggycore db --help` is not to wait for it.


@click.group("db", epilog="Example: eggycore db migrate --dry-run")
def group() -> None:
    """Migrate databases, and compare them with the models of the app."""


def database_option(function: F) -> F:
    """Give a command `--database`; the function gets it as `database`."""
    return click.option(
        "--database", metavar="NAME", default="default", help="One of DATABASES; without it the one of DATABASE_DSN."
    )(function)


def unfinished_options(function: F) -> F:
    """Give a command `--resume` and `--retry`."""
    resume = click.option("--resume", is_flag=True, help="Go on with a migration that stopped half way.")
    retry = click.option("--retry", is_flag=True, help="Begin it anew, after you have reverted by hand what it did.")
    return resume(retry(function))


def _unfinished(resume: bool, retry: bool) -> Unfinished:
    if resume and retry:
        raise click.UsageError("--resume goes on with a migration and --retry begins it anew: give one of them.")
    return "resume" if resume else "retry" if retry else "refuse"


@group.command(short_help="List the migrations.", epilog="Example: eggycore db status --json")
@runtime_options
@database_option
@json_option
def status(options: RuntimeOptions, database: str, as_json: bool) -> None:
    """List the migrations of a database: which it has had, and which are pending."""
    from eggycore_db.migrations import commands, reports

    place = commands.place(options.runtime(), database)
    migrations = commands.run(place, commands.read)
    if as_json:
        echo_json(reports.as_data(migrations))
    else:
        click.echo(reports.status(migrations, place))


@group.command(short_help="Apply pending migrations.", epilog="Example: eggycore db migrate 0007 --dry-run")
@click.argument("target", default="")
@click.option("--dry-run", is_flag=True, help="Print the SQL and change nothing.")
@click.option("--out-of-order", is_flag=True, help="Also those that are older than one that was applied.")
@click.option("--accept-edited", is_flag=True, help="Take edited files for what was applied.")
@unfinished_options
@runtime_options
@database_option
def migrate(
    options: RuntimeOptions,
    database: str,
    target: str,
    dry_run: bool,
    out_of_order: bool,
    accept_edited: bool,
    resume: bool,
    retry: bool,
) -> None:
    """Apply the pending migrations in order, up to TARGET (a number or a name) when it is given.

    One process at a time does so; others wait for it and then find nothing pending.
    """
    from eggycore_db.migrations import commands, reports

    place = commands.place(options.runtime(), database)
    order = place.order(
        target=target,
        out_of_order=out_of_order,
        accept_edited=accept_edited,
        unfinished=_unfinished(resume, retry),
    )
    _change("up", dry_run, place, order, reports.nothing_to_apply)


@group.command(short_help="Take back the newest migrations.", epilog="Example: eggycore db rollback --steps 2")
@click.option("--steps", type=click.IntRange(min=1), default=1, show_default=True, help="How many.")
@click.option("--dry-run", is_flag=True, help="Print the SQL and change nothing.")
@unfinished_options
@runtime_options
@database_option
def rollback(options: RuntimeOptions, database: str, steps: int, dry_run: bool, resume: bool, retry: bool) -> None:
    """Take back the newest migrations, by their function `down`. Data in what they have made is lost."""
    from eggycore_db.migrations import commands, reports

    place = commands.place(options.runtime(), database)
    order = place.order(steps=steps, unfinished=_unfinished(resume, retry))
    _change("down", dry_run, place, order, reports.nothing_to_revert)


def _change(
    direction: Literal["down", "up"], dry_run: bool, place: Any, order: Any, nothing: Callable[[Any], str]
) -> None:
    from eggycore_db.migrations import commands, reports

    if dry_run:
        previews = commands.run(place, commands.preview(direction, order))
        click.echo(reports.previews(previews, place) if previews else nothing(place))
        return
    with reports.Progress(direction, place) as progress:
        names = commands.run(place, commands.change(direction, order, progress.watch))
    if not names:
        click.echo(nothing(place))


@group.command(short_help="Write a new migration.", epilog='Example: eggycore db create "add karma"')
@click.argument("name")
@runtime_options
@database_option
def create(options: RuntimeOptions, database: str, name: str) -> None:
    """Write an empty migration, with the next number, for you to fill in. NAME says what it does."""
    from eggycore_db.migrations import commands, reports
    from eggycore_db.migrations.files import create_file

    place = commands.place(options.runtime(), database)
    click.echo(reports.written(place, create_file(place.folder, name)))


@group.command(short_help="Write a migration from the models.", epilog='Example: eggycore db generate "add karma"')
@click.argument("name")
@runtime_options
@database_option
def generate(options: RuntimeOptions, database: str, name: str) -> None:
    """Write a migration that brings the database to what the models of registered repositories say.

    Read it before you apply it: a column that was renamed looks like one dropped and one added.
    """
    from eggycore_db.migrations import commands, reports

    place = commands.place(options.runtime(), database)
    comparison = commands.run(place, commands.compare_migrated)
    click.echo(reports.generated(place, comparison, name))


@group.command(short_help="Show how tables and models differ.", epilog="Example: eggycore db diff --database orders")
@runtime_options
@database_option
def diff(options: RuntimeOptions, database: str) -> None:
    """Show how the tables of a database differ from the models of registered repositories."""
    from eggycore_db.migrations import commands, reports

    place = commands.place(options.runtime(), database)
    click.echo(reports.differences(commands.run(place, commands.compare_now), place))


@group.command(short_help="Fail when a database is not up to date.", epilog="Example: eggycore db check && deploy")
@runtime_options
@database_option
def check(options: RuntimeOptions, database: str) -> None:
    """Exit with 1 when migrations are pending, edited or unfinished, or when tables and models differ."""
    from eggycore_db.migrations import commands, reports

    place = commands.place(options.runtime(), database)
    migrations = commands.run(place, commands.read)
    problems = reports.problems(migrations, commands.run(place, commands.compare_now), place)
    click.echo("\n".join(problems) if problems else f"The database {place.location} is up to date.")
    if problems:
        click.get_current_context().exit(1)


@group.command(short_help="Print the SQL that gives users their rights.", epilog="Example: eggycore db grants | psql")
@click.option("--serve", metavar="USER", default="app", show_default=True, help="The user of the app.")
@click.option("--migrate", metavar="USER", default="migrator", show_default=True, help="The user that migrates.")
@click.option("--schema", default="public", show_default=True, help="Where the tables are; PostgreSQL only.")
@runtime_options
@database_option
def grants(options: RuntimeOptions, database: str, serve: str, migrate: str, schema: str) -> None:
    """Print the SQL that gives one user what serving needs and another what migrating needs, and no more."""
    from eggycore_db.grants import grants as sql
    from eggycore_db.migrations import commands

    place = commands.place(options.runtime(), database)
    click.echo(sql(place.target, serve=serve, migrate=migrate, schema=schema), nl=False)
