"""What goes wrong with a database, and what a person is told about it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError, NotUpYet, Unavailable

__all__ = [
    "DatabaseClosed",
    "DatabaseNotUp",
    "DatabaseUnavailable",
    "DatabaseUnusable",
    "Holder",
    "NoDatabase",
    "OutsideWorker",
    "PoolExhausted",
    "QueryTimeout",
    "ServerTrouble",
    "TableNotMade",
    "TableTaken",
    "Trouble",
]

ServerTrouble = Literal[
    "access",
    "lost",
    "no database",
    "no thread",
    "other",
    "password",
    "read-only",
    "refused",
    "starting",
    "timeout",
    "tls expired",
    "tls file",
    "tls missing",
    "tls name",
    "tls required",
    "tls untrusted",
    "too many",
    "unknown host",
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
class DatabaseUnavailable(Unavailable):
    """A database server cannot be used now.

    Args:
        location: Where it is, without secrets.
        trouble: What kind of trouble it is.
        detail: What the server or the driver says, without secrets.
        user: Who wanted to connect.
    """

    location: str
    trouble: ServerTrouble
    detail: str = ""
    user: str = ""

    @classmethod
    def lost(cls, location: str, detail: str) -> DatabaseUnavailable:
        """The connection is gone."""
        return cls(location, "lost", detail)

    @classmethod
    def no_thread(cls, location: str, detail: str) -> DatabaseUnavailable:
        """The system gives no thread for a connection."""
        return cls(location, "no thread", detail)


@dataclass(eq=False)
class DatabaseNotUp(DatabaseUnavailable, NotUpYet):
    """A database server cannot be used yet; at start it is tried again."""


@dataclass(frozen=True)
class Holder:
    """Who has a connection, and for how many seconds."""

    name: str
    seconds: float


@dataclass(eq=False)
class PoolExhausted(Unavailable):
    """No connection was free in time.

    Args:
        location: Where the database is.
        seconds: How long it was waited for.
        size: How many connections there are.
        holders: Who has them, the longest first.
    """

    location: str
    seconds: float
    size: int
    holders: tuple[Holder, ...] = ()


@dataclass(eq=False)
class QueryTimeout(Unavailable):
    """A unit of work took longer than DATABASE_QUERY_TIMEOUT, or a statement than DATABASE_STATEMENT_TIMEOUT.

    Args:
        location: Where the database is.
        function: What the work is called.
        seconds: How long it may take.
        by_server: Whether the server ended the statement; else the connection was cut.
    """

    location: str
    function: str
    seconds: float
    by_server: bool = False


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


_SERVER_TROUBLES: dict[ServerTrouble, tuple[str, str]] = {
    "access": (
        "The server does not let {user} in from here ({detail}).",
        "Allow the host and user on the server (pg_hba.conf, or GRANT ... TO 'user'@'host').",
    ),
    "lost": ("The connection was lost ({detail}).", "Try again: the pool connects anew by itself."),
    "no database": (
        "The server has no database of this name ({detail}).",
        "Make it with `CREATE DATABASE`, or correct the name in the DSN.",
    ),
    "no thread": ("The system gives no thread for a connection ({detail}).", "Raise the limit of threads (ulimit -u)."),
    "other": ("The server says: {detail}.", "Look into the server's log."),
    "password": (
        "The server refuses user {user} ({detail}).",
        "Correct user and password, in the DSN or in DATABASE_USER and DATABASE_PASSWORD.",
    ),
    "read-only": (
        "The server takes no writes ({detail}).",
        "Wait for the failover to end, or let the DSN name the primary; connections are made anew meanwhile.",
    ),
    "refused": (
        "Nothing listens there ({detail}).",
        "Start the server, or correct host and port in the DSN.",
    ),
    "starting": ("The server is starting or stopping ({detail}).", "Wait until it is up."),
    "timeout": (
        "It did not answer in time ({detail}).",
        "Look for a firewall that drops packets, and at the host's load; DATABASE_CONNECT_TIMEOUT sets the time.",
    ),
    "tls expired": (
        "The server's certificate is not valid now ({detail}).",
        "Renew the server's certificate, and look at the clocks of both machines.",
    ),
    "tls file": (
        "A file of the TLS settings cannot be used ({detail}).",
        "Correct DATABASE_TLS_CA, DATABASE_TLS_CERTIFICATE and DATABASE_TLS_KEY.",
    ),
    "tls missing": (
        "The server does not speak TLS ({detail}).",
        "Switch TLS on at the server, or set DATABASE_TLS=disable if the network may be read.",
    ),
    "tls name": (
        "The server's certificate is for another name ({detail}).",
        "Use the host name that the certificate names, or DATABASE_TLS=verify-ca to check only who signed it.",
    ),
    "tls required": (
        "The server accepts encrypted connections only ({detail}).",
        "Set DATABASE_TLS=require, or verify-full with DATABASE_TLS_CA.",
    ),
    "tls untrusted": (
        "The server's certificate is signed by nobody trusted here ({detail}).",
        "Set DATABASE_TLS_CA to the file with the certificate of who signed it.",
    ),
    "too many": (
        "The server refuses more connections ({detail}).",
        "Keep DATABASE_MAX_OPEN_CONNS times the number of replicas below its limit (max_connections), or raise that.",
    ),
    "unknown host": (
        "The host's name does not resolve ({detail}).",
        "Correct the host in the DSN, or wait for its DNS.",
    ),
}

SHOWN_HOLDERS = 5


@diagnose.register
def _(error: DatabaseUnavailable) -> Diagnosis:
    cause, action = _SERVER_TROUBLES[error.trouble]
    facts = {"detail": error.detail or "no more is known", "user": error.user or "the user"}
    return Diagnosis(
        description="The database cannot be used now.",  # a stranger may see it, so it does not say where that is
        cause=f"{error.location}: {cause.format(**facts)}",
        action=action,
    )


@diagnose.register
def _(error: PoolExhausted) -> Diagnosis:
    shown = ", ".join(f"{holder.name} for {holder.seconds:.1f} s" for holder in error.holders[:SHOWN_HOLDERS])
    more = len(error.holders) - SHOWN_HOLDERS
    count, they = ("1 connection is", "It is") if error.size == 1 else (f"{error.size} connections are", "They are")
    held = f"{they} held by {shown}{f' and {more} more' if more > 0 else ''}." if shown else f"{they} busy."
    return Diagnosis(
        description=f"No connection to the database was free within {error.seconds:g} s.",
        cause=f"{error.location}: {count} open. {held}",
        action="Keep transactions short and await nothing else in them, or raise DATABASE_MAX_OPEN_CONNS.",
    )


@diagnose.register
def _(error: QueryTimeout) -> Diagnosis:
    description = f"{error.function} got no answer from the database within {error.seconds:g} s."
    if error.by_server:
        return Diagnosis(
            description=description,
            cause=f"{error.location}: the server ended the statement, which had no effect.",
            action="Make the query faster, or raise DATABASE_STATEMENT_TIMEOUT.",
        )
    return Diagnosis(
        description=description,
        cause=f"{error.location}: the connection was cut; whether the statement took effect is not known.",
        action="Make the query faster, or raise DATABASE_QUERY_TIMEOUT and DATABASE_STATEMENT_TIMEOUT.",
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
