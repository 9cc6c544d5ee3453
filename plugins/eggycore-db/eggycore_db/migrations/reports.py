"""What the commands of `eggycore db` say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import click
from playhouse.migrations import template  # type: ignore[import-untyped]  # it has no types

from eggycore.cli.table import table
from eggycore_db.lock import Holder
from eggycore_db.migrations.applying import Watch
from eggycore_db.migrations.commands import Place
from eggycore_db.migrations.errors import command, listed
from eggycore_db.migrations.files import create_file
from eggycore_db.migrations.running import Preview
from eggycore_db.migrations.state import Entry, Migrations, Step
from eggycore_db.schema import Comparison

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "Progress",
    "as_data",
    "differences",
    "generated",
    "nothing_to_apply",
    "nothing_to_revert",
    "previews",
    "problems",
    "status",
    "written",
]


def status(migrations: Migrations, place: Place) -> str:
    """The migrations as a table, and what they come to."""
    entries = migrations.entries()
    if not entries:
        return (
            f"There are no migrations in {place.shown_folder}."
            f" Write the first with {command('create NAME', place.name)}, or let"
            f" {command('generate NAME', place.name)} write it from your models."
        )
    rows = [(entry.name, entry.state, _at(entry), _took(entry.seconds), entry.app_version) for entry in entries]
    lines = [table(("migration", "state", "at (UTC)", "took", "by version"), rows), ""]
    counts = {
        state: sum(entry.state == state for entry in entries) for state in dict.fromkeys(e.state for e in entries)
    }
    lines.append(f"{place.location}: {', '.join(f'{count} {state}' for state, count in counts.items())}.")
    if "unknown" in counts:
        lines.append("Unknown ones were applied, and have no file here: by a newer version, or one was removed.")
    if "edited" in counts or "unfinished" in counts:
        lines.append(
            f"What to do about it says {command('migrate', place.name)}, which changes nothing until it is done."
        )
    elif "pending" in counts:
        lines.append(f"Apply what is pending with {command('migrate', place.name)}.")
    return "\n".join(lines)


def as_data(migrations: Migrations) -> list[dict[str, object]]:
    """The migrations for programs."""
    return [
        {
            "name": entry.name,
            "state": entry.state,
            "at": f"{entry.at.isoformat()}Z" if entry.at is not None else None,
            "seconds": entry.seconds,
            "app_version": entry.app_version,
        }
        for entry in migrations.entries()
    ]


def nothing_to_apply(place: Place) -> str:
    """Said when no migration is pending."""
    return f"Nothing to apply: the database {place.location} has every migration in {place.shown_folder}."


def nothing_to_revert(place: Place) -> str:
    """Said when no migration was applied."""
    return f"Nothing to take back: the database {place.location} has had no migration."


def previews(shown: Sequence[Preview], place: Place) -> str:
    """The SQL of a dry run."""
    lines: list[str] = []
    for preview in shown:
        lines.append(f"-- {preview.name}")
        lines.extend(f"{statement.rstrip(';')};" for statement in preview.statements)
        if preview.problem:
            lines.append(f"-- It stops here: {preview.problem}")
        elif not preview.statements:
            lines.append("-- It changes nothing.")
    lines.append(f"-- A dry run: nothing was changed in {place.location}. Parameters are not shown.")
    return "\n".join(lines)


def differences(comparison: Comparison, place: Place) -> str:
    """How tables and models differ, line by line."""
    lines = _difference_lines(comparison)
    return "\n".join(lines) or f"The tables of {place.location} are as the models say."


def problems(migrations: Migrations, comparison: Comparison, place: Place) -> list[str]:
    """Why a database is not up to date, line by line; none when it is."""
    found = [
        f"{entry.name} is {entry.state}" for entry in migrations.entries() if entry.state in ("edited", "unfinished")
    ]
    found += [f"{file.name} is pending" for file in migrations.pending]
    if not migrations.pending:  # what they bring is still missing
        found += _difference_lines(comparison)
    if not found:
        return []
    count = f"{len(found)} problem{'s' if len(found) != 1 else ''}"
    return [*found, f"The database {place.location} is not up to date: {count}."]


def generated(place: Place, comparison: Comparison, name: str) -> str:
    """Write the migration that the comparison asks for, and say what it does."""
    if not comparison.diff:
        lines = [f"Nothing to generate: the tables of {place.location} have all that the models have."]
        if place.settings.auto_tables:
            lines.append(
                "An app that was started on this database has added what was missing; set DATABASE_AUTO_TABLES=false"
                " where migrations are to do that."
            )
        return "\n".join(lines)
    path = create_file(place.folder, name, template(comparison.diff))
    todo = "TODO" in path.read_text(encoding="utf-8")
    steps = [f"  {line}" for line in str(comparison.diff).splitlines()]
    read = "Read it, above all the lines with TODO" if todo else "Read it"
    return "\n".join([written(place, path), *steps, f"{read}, then apply it with {command('migrate', place.name)}."])


def written(place: Place, path: Path) -> str:
    """Said of a new file."""
    return f"Written: {path.relative_to(place.home) if path.is_relative_to(place.home) else path}"


class Progress:
    """Says what a command has done: a bar on a terminal when there are several steps, else a line for each.

    Args:
        direction: Whether migrations are applied or taken back.
        place: The database.
    """

    def __init__(self, direction: Literal["down", "up"], place: Place) -> None:
        self._word = "applied" if direction == "up" else "taken back"
        self._place = place
        self._stack = ExitStack()
        self._bar: Any = None
        self._names: tuple[str, ...] = ()
        self.watch = Watch(planned=self._planned, accepted=self._accepted, done=self._done, waiting=self._waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()
        if self._bar is not None and self._names:
            click.echo(f"{self._word.capitalize()}: {listed(self._names)}.")

    def _planned(self, steps: tuple[Step, ...]) -> None:
        if len(steps) > 1 and sys.stdout.isatty():
            progressbar: Any = click.progressbar  # its type for item_show_func is too narrow
            bar = progressbar(length=len(steps), label=f"Migrating {self._place.location}", item_show_func=_shown)
            self._bar = self._stack.enter_context(bar)

    def _accepted(self, names: tuple[str, ...]) -> None:
        if names:
            click.echo(f"Taken as it is now: {listed(names)}.")

    def _done(self, step: Step, seconds: float) -> None:
        self._names = (*self._names, step.file.name)
        if self._bar is not None:
            self._bar.update(1, step.file.name)
        else:
            click.echo(f"{self._word.capitalize()}: {step.file.name} ({_took(seconds)})")

    def _waiting(self, holder: Holder | None, seconds: float) -> None:
        who = str(holder) if holder is not None else "another process"
        click.echo(f"Waiting for {who}, which changes the tables of {self._place.location} ({seconds:.0f} s)", err=True)


def _shown(name: str | None) -> str:
    return name or ""


def _difference_lines(comparison: Comparison) -> list[str]:
    return [*(f"{addition} is missing" for addition in comparison.additions), *comparison.differences]


def _at(entry: Entry) -> str:
    return f"{entry.at:%Y-%m-%d %H:%M:%S}" if entry.at is not None else ""


def _took(seconds: float) -> str:
    if not seconds:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
