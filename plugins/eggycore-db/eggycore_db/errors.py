"""What goes wrong with a database, and what a person is told about it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError

__all__ = [
    "DatabaseClosed",
    "DatabaseUnusable",
    "NoDatabase",
    "OutsideWorker",
    "TableNotMade",
    "TableTaken",
    "TransactionLeftOpen",
    "Trouble",
]

Trouble = Literal[
    "corrupt", "folder", "full", "locked", "missing folder", "other", "unwritable file", "unwritable folder"
]


@dataclass(eq=False)
class DatabaseUnusable(EggycoreError):
    """The database file cannot be opened for reading and writing.

    Args:
        path: The file, absolute.
        trouble: What kind of trouble it is.
        detail: What SQLite says.
    """

    path: Path
    trouble: Trouble
    detail: str


@dataclass(eq=False)
class DatabaseClosed(EggycoreError):
    """A database was used before it was opened or after it was closed."""

    location: str


@dataclass(eq=False)
class NoDatabase(EggycoreError):
    """A model or `get_db` was used where no database is open."""


@dataclass(eq=False)
class OutsideWorker(EggycoreError):
    """A query was run in a thread that is not a worker of its database."""

    thread: str


@dataclass(eq=False)
class TransactionLeftOpen(EggycoreError):
    """A function given to `Database.run` returned inside a transaction."""

    function: str


@dataclass(eq=False)
class TableNotMade(EggycoreError):
    """A repository's table could not be made."""

    table: str
    repository: str
    detail: str


@dataclass(eq=False)
class TableTaken(EggycoreError):
    """Two repositories claim one table."""

    table: str
    first: str
    second: str


_TROUBLES: dict[Trouble, tuple[str, str]] = {
    "corrupt": (
        "The file is not an SQLite database, or it is damaged ({detail}).",
        "Put a backup in its place, or name another file in DATABASE_DSN.",
    ),
    "folder": ("It is a folder.", "Name a file in DATABASE_DSN."),
    "full": ("The disk is full.", "Free space on the disk of {folder}."),
    "locked": (
        "Another process has locked it.",
        "Stop that process (`fuser -v {quoted_path}` names it), or name another file in DATABASE_DSN.",
    ),
    "missing folder": (
        "The folder {folder} does not exist.",
        "Make it with `mkdir -p {quoted_folder}`, or name another file in DATABASE_DSN.",
    ),
    "other": ("SQLite says: {detail}.", "Look at the file and its folder, or name another file in DATABASE_DSN."),
    "unwritable file": (
        "This process may not write to the file.",
        "Give its user the right to write to {path}, or name another file in DATABASE_DSN.",
    ),
    "unwritable folder": (
        "This process may not write in the folder {folder}, and SQLite keeps its journal beside the file.",
        "Give its user the right to write in {folder}, or name another file in DATABASE_DSN.",
    ),
}


@diagnose.register
def _(error: DatabaseUnusable) -> Diagnosis:
    cause, action = _TROUBLES[error.trouble]
    path, folder = error.path, error.path.parent
    quoted = {"quoted_path": shlex.quote(str(path)), "quoted_folder": shlex.quote(str(folder))}
    facts = {"path": path, "folder": folder, "detail": error.detail, **quoted}
    return Diagnosis(
        description=f"The database {error.path} cannot be used.",
        cause=cause.format(**facts),
        action=action.format(**facts),
    )


@diagnose.register
def _(error: DatabaseClosed) -> Diagnosis:
    return Diagnosis(
        description=f"The database {error.location} is not open.",
        cause="It was used before it was opened or after it was closed.",
        action="Use it between the two: in a handler, in a service's run, or inside `async with`.",
    )


@diagnose.register
def _(error: NoDatabase) -> Diagnosis:
    return Diagnosis(
        description="There is no open database here.",
        cause="No runtime with the db plugin is running in this context, and set_db was not called.",
        action="Use models in handlers and services, or call set_db(await connect(...)) in a script.",
    )


@diagnose.register
def _(error: OutsideWorker) -> Diagnosis:
    return Diagnosis(
        description=f"A query was run in the thread {error.thread}, which has no connection.",
        cause="A peewee query waits for the database; in the event loop's thread it would stop every other task.",
        action="Await it: `await db.list(query)`, or `await db.run(function)` for several.",
    )


@diagnose.register
def _(error: TransactionLeftOpen) -> Diagnosis:
    return Diagnosis(
        description=f"{error.function} returned with a transaction open; it was rolled back.",
        cause="A connection is handed to the next caller after each function.",
        action="Use `with db.atomic():` inside the function.",
    )


@diagnose.register
def _(error: TableNotMade) -> Diagnosis:
    return Diagnosis(
        description=f"The table {error.table} of {error.repository} could not be made.",
        cause=f"{error.detail}.",
        action=f"Look at the model and init_table of {error.repository}.",
    )


@diagnose.register
def _(error: TableTaken) -> Diagnosis:
    return Diagnosis(
        description=f"The table {error.table} belongs to two repositories.",
        cause=f"{error.first} has registered it, and {error.second} wants it too.",
        action="Give one of them another table_name.",
    )
