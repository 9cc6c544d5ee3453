"""What goes wrong with migrations, and what a person is told about it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from eggycore.diagnostics import Diagnosis, capitalized, diagnose, did_you_mean
from eggycore.errors import EggycoreError, NotUpYet, UsageError

__all__ = [
    "MigrationEdited",
    "MigrationFailed",
    "MigrationNotReversible",
    "MigrationUnfinished",
    "MigrationUnknown",
    "MigrationUnreadable",
    "MigrationUnusable",
    "MigrationsOutOfOrder",
    "MigrationsPending",
    "MigrationsShareNumber",
    "PendingFirst",
    "ResumeImpossible",
    "listed",
]

Direction = Literal["down", "up"]
FEW = 3
"""As many names are said twice."""

COMMANDS: dict[Direction, str] = {"up": "migrate", "down": "rollback"}


def listed(names: tuple[str, ...]) -> str:
    """Names in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


@dataclass(eq=False)
class MigrationUnreadable(EggycoreError):
    """A migration file cannot be read."""

    path: Path
    detail: str


@dataclass(eq=False)
class MigrationUnusable(EggycoreError):
    """A migration file does not run, or does not define what it must.

    Args:
        path: The file.
        detail: What is wrong with it.
        place: Where in the code, when that is known.
    """

    path: Path
    detail: str
    place: str = ""


@dataclass(eq=False)
class MigrationsShareNumber(UsageError):
    """Two migration files have the same number."""

    folder: Path
    first: str
    second: str


@dataclass(eq=False)
class MigrationUnknown(UsageError):
    """A migration was named that there is not."""

    asked: str
    folder: Path
    known: tuple[str, ...]


@dataclass(eq=False)
class MigrationEdited(EggycoreError):
    """The file of an applied migration is not what was applied.

    Args:
        path: The file.
        at: When it was applied, UTC.
        recorded: Checksum of what was applied.
        found: Checksum of the file now.
        database: The database's name among those of the app.
    """

    path: Path
    at: datetime
    recorded: str
    found: str
    database: str = "default"


@dataclass(eq=False)
class MigrationsOutOfOrder(EggycoreError):
    """Migrations are pending that are older than one that was applied."""

    names: tuple[str, ...]
    newest: str
    database: str = "default"


@dataclass(eq=False)
class MigrationUnfinished(EggycoreError):
    """A migration was begun and did not come to its end, and its database cannot roll it back.

    Args:
        name: The migration.
        direction: Whether it was being applied or taken back.
        at: When it was begun, UTC.
        done: How many of its statements were carried out.
        log: The first of those, one in a line.
        running: The statement that had begun, "" when it is known to have failed, or none had.
        database: The database's name among those of the app.
    """

    name: str
    direction: Direction
    at: datetime
    done: int
    log: str = ""
    running: str = ""
    database: str = "default"


@dataclass(eq=False)
class MigrationFailed(EggycoreError):
    """A migration raised an error.

    Args:
        path: Its file.
        direction: Whether it was being applied or taken back.
        detail: The error, on one line.
        finished: The migrations that were carried out before it by the same command; they stay.
        statement: The statement that failed, without its parameters; "" when something else did.
        number: Which statement of the migration it was, or how many had been carried out.
        place: Where in the file, when that is known.
        stays: How many of its statements stay, None when it was rolled back whole.
        log: The first of those, one in a line.
        database: The database's name among those of the app.
    """

    path: Path
    direction: Direction
    detail: str
    finished: tuple[str, ...] = ()
    statement: str = ""
    number: int = 0
    place: str = ""
    stays: int | None = None
    log: str = ""
    database: str = "default"


@dataclass(eq=False)
class ResumeImpossible(EggycoreError):
    """The statements of a migration are not those that were carried out when it was begun."""

    name: str
    done: int
    log: str


@dataclass(eq=False)
class MigrationNotReversible(EggycoreError):
    """A migration that should be taken back does not say how, or its file is gone."""

    name: str
    folder: Path
    missing: bool


@dataclass(eq=False)
class MigrationsPending(NotUpYet):
    """The database lacks migrations, and this process is not to apply them.

    Args:
        names: Those that it lacks.
        unfinished: The one that somebody has begun, "" when none.
        location: The database.
        database: Its name among those of the app.
    """

    names: tuple[str, ...]
    unfinished: str
    location: str
    database: str = "default"


@dataclass(eq=False)
class PendingFirst(UsageError):
    """A migration was to be generated from a database that lacks others."""

    names: tuple[str, ...]
    database: str = "default"


def command(words: str, database: str) -> str:
    """A command of `eggycore db` as a person types it: for the database of this name."""
    chosen = "" if database == "default" else f" --database {shlex.quote(database)}"
    return f"`eggycore db {words}{chosen}`"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _lines(log: str, count: int) -> str:
    """The statements that were carried out, numbered, below a sentence."""
    lines = [f"    {number}. {line}" for number, line in enumerate(log.splitlines(), 1)]
    if count > len(lines):
        lines.append(f"    and {count - len(lines)} more")
    return "".join(f"\n{line}" for line in lines)


def _statements(count: int) -> str:
    return f"{count} statement{'s' if count != 1 else ''}"


@diagnose.register
def _(error: MigrationUnreadable) -> Diagnosis:
    return Diagnosis(
        description=f"The migration {error.path} cannot be read.",
        cause=f"{capitalized(error.detail)}.",
        action="Make it a UTF-8 text file that this process may read.",
    )


@diagnose.register
def _(error: MigrationUnusable) -> Diagnosis:
    place = f", at {error.place}" if error.place else ""
    return Diagnosis(
        description=f"The migration {error.path} cannot be used.",
        cause=f"{capitalized(error.detail)}{place}.",
        action="Correct the file; `eggycore db create NAME` writes one that works, to compare with.",
    )


@diagnose.register
def _(error: MigrationsShareNumber) -> Diagnosis:
    return Diagnosis(
        description=f"Two migrations in {error.folder} have the same number: {error.first} and {error.second}.",
        cause="The number says in which order they are applied.",
        action="Give the one that was applied nowhere yet the next free number.",
    )


@diagnose.register
def _(error: MigrationUnknown) -> Diagnosis:
    return Diagnosis(
        description=f"There is no migration {error.asked!r} in {error.folder}.{did_you_mean(error.asked, error.known)}",
        action="Name one by its number or its file; `eggycore db status` lists them.",
    )


@diagnose.register
def _(error: MigrationEdited) -> Diagnosis:
    return Diagnosis(
        description=f"The migration {error.path} was edited after it was applied.",
        cause=f"The text applied on {_day(error.at)} has the checksum {error.recorded[:12]}, the file now"
        f" {error.found[:12]}; other databases would get other tables.",
        action="Bring the old text back and put the change into a new migration, or, when the edit changes nothing in"
        f" the tables, run {command('migrate --accept-edited', error.database)}.",
    )


@diagnose.register
def _(error: MigrationsOutOfOrder) -> Diagnosis:
    one = len(error.names) == 1
    what = f"The migration {error.names[0]} is" if one else f"The migrations {listed(error.names)} are"
    return Diagnosis(
        description=f"{what} pending and older than {error.newest}, which was applied.",
        cause=f"{'It' if one else 'They'} came late, from a branch for example, and may not fit what was done since.",
        action=f"Give {'it a number' if one else 'them numbers'} above {error.newest}, or run"
        f" {command('migrate --out-of-order', error.database)} when the order does not matter.",
    )


@diagnose.register
def _(error: MigrationUnfinished) -> Diagnosis:
    what = "was begun" if error.direction == "up" else "was being taken back"
    verb = COMMANDS[error.direction]
    unsure = f"\n    Whether the next one was too is not known: {error.running}." if error.running else ""
    one = error.done == 1
    done = f"{_statements(error.done)} of it {'was' if one else 'were'} carried out and stay{'s' if one else ''}"
    end = ":" if error.log else "."
    return Diagnosis(
        description=f"The migration {error.name} {what} on {_day(error.at)} and did not come to its end.",
        cause=f"{done}{end}{_lines(error.log, error.done)}{unsure}",
        action=f"Correct the file from the next statement on, if that failed, and run"
        f" {command(f'{verb} --resume', error.database)}; or revert by hand what stays and run"
        f" {command(f'{verb} --retry', error.database)}, which begins it anew.",
    )


@diagnose.register
def _(error: MigrationFailed) -> Diagnosis:
    verb, again = COMMANDS[error.direction], "applied" if error.direction == "up" else "taken back"
    where = f" at its statement {error.number}" if error.statement else f", at {error.place}" if error.place else ""
    was = "was" if len(error.finished) == 1 else "were"
    before = f"; {listed(error.finished)} {was} {again} before it and {'stays' if was == 'was' else 'stay'} so"
    sql = f"\n    {error.statement}" if error.statement else ""
    return Diagnosis(
        description=f"The migration {error.path.stem} failed{where}{before if error.finished else ''}.",
        cause=f"{capitalized(error.detail)}.{sql}",
        action=_after_failure(error, verb),
    )


def _after_failure(error: MigrationFailed, verb: str) -> str:
    if error.stays is None:
        return f"Nothing of it stays: correct {error.path} and run {command(verb, error.database)} again."
    words = (
        f"Correct {error.path} from statement {error.stays + 1} on and run",
        f"{command(f'{verb} --resume', error.database)}; or revert by hand what stays and run",
        f"{command(f'{verb} --retry', error.database)}.",
    )
    stays = f" What stays, because it cannot be rolled back:{_lines(error.log, error.stays)}" if error.stays else ""
    return " ".join(words) + stays


@diagnose.register
def _(error: ResumeImpossible) -> Diagnosis:
    return Diagnosis(
        description=f"The migration {error.name} cannot be resumed: its statements are no longer those that were"
        " carried out.",
        cause=f"To be skipped are, in the text that they had:{_lines(error.log, error.done)}",
        action="Bring their text back as it was, or finish the migration by hand: revert what stays and begin it anew"
        " with --retry.",
    )


@diagnose.register
def _(error: MigrationNotReversible) -> Diagnosis:
    return Diagnosis(
        description=f"The migration {error.name} cannot be taken back.",
        cause=f"Its file is not in {error.folder}." if error.missing else "It defines no function down(migrator, db).",
        action="Bring its file back, or take it back with a new migration."
        if error.missing
        else "Take it back with a new migration.",
    )


@diagnose.register
def _(error: MigrationsPending) -> Diagnosis:
    one = len(error.names) == 1
    lacks = f"lacks the migration{'' if one else 's'} {listed(error.names)}"
    begun = f"{error.unfinished} was begun and has not come to its end"
    what = listed(error.names) if 0 < len(error.names) <= FEW else "them"  # a log line may hold only the cause
    return Diagnosis(
        description=f"The database {error.location} {lacks}." if error.names else f"The migration {begun}.",
        cause=f"DATABASE_MIGRATIONS is check, so that this process waits for somebody else to apply {what}"
        f"{f'; {begun}' if error.names and error.unfinished else ''}.",
        action=f"Run {command('migrate', error.database)} in a job before the new version starts, or set"
        " DATABASE_MIGRATIONS=auto.",
    )


@diagnose.register
def _(error: PendingFirst) -> Diagnosis:
    what = (
        f"The migration {error.names[0]} is" if len(error.names) == 1 else f"The migrations {listed(error.names)} are"
    )
    return Diagnosis(
        description=f"{what} pending, so that nothing is generated.",
        cause="What is pending would be generated once more.",
        action=f"Apply what is pending first, with {command('migrate', error.database)}.",
    )
