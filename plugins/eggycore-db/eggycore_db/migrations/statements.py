"""The statements that a migration runs: seen one by one, counted, shown, and skipped where they were done before."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, time, timedelta
from typing import Any, Literal, TypeAlias

import peewee

from eggycore_db.migrations.errors import ResumeImpossible
from eggycore_db.migrations.history import Progress
from eggycore_db.sql import row_of

__all__ = ["Collector", "Execute", "Handler", "Tracker", "Watcher", "intercepted", "one_line"]

Parameters: TypeAlias = Sequence[object] | None
Execute: TypeAlias = Callable[[str, Parameters], Any]
Handler: TypeAlias = Callable[[str, Parameters, Execute], Any]
"""Gets a statement that changes something and the function that would run it; returns a cursor."""

LOG_LINES, LOG_WIDTH = 50, 200
"""How many statements the history keeps to show, and how much of each."""

_COMMENTS = re.compile(r"\A(?:\s+|--[^\n]*\n|/\*.*?\*/)+", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
_WRITES = re.compile(r"\b(insert|update|delete|merge)\b", re.IGNORECASE)

_PASSED = frozenset({
    "begin", "commit", "desc", "describe", "explain", "lock", "pragma", "release", "rollback", "savepoint", "select",
    "set", "show", "start", "unlock", "use", "values",
})  # fmt: skip
"""First words of what changes no rows or tables that last; a resumed migration needs them again."""

_OF_ROWS = frozenset({"delete", "insert", "merge", "replace", "update", "with"})

_ALREADY_MYSQL = frozenset({1050, 1051, 1054, 1060, 1061, 1091, 1146})
_ALREADY_POSTGRESQL = frozenset({"42P07", "42701", "42710", "42703", "42P01", "42704"})
_ALREADY_SQLITE = re.compile("already exists|duplicate column name|no such (table|index|column)")


@contextmanager
def intercepted(db: peewee.Database, handler: Handler) -> Iterator[None]:
    """Give what this thread runs on `db` and that changes something to `handler`, until the block ends.

    What the handler runs itself goes to the database; other threads are not concerned. It sees the queries of the
    app's own models too, which `db` runs for them.
    """
    execute: Execute = db.execute_sql
    thread = threading.get_ident()
    busy = False

    def execute_sql(sql: str, params: Parameters = None) -> Any:
        nonlocal busy
        if busy or threading.get_ident() != thread or _kind(sql) == "passed":
            return execute(sql, params)
        busy = True
        try:
            return handler(sql, params, execute)
        finally:
            busy = False

    vars(db)["execute_sql"] = execute_sql
    try:
        yield
    finally:
        del vars(db)["execute_sql"]


class Watcher:
    """Counts statements and knows which one failed."""

    def __init__(self) -> None:
        self.count = 0
        self._failed: tuple[BaseException, str] | None = None

    def __call__(self, sql: str, params: Parameters, execute: Execute) -> Any:
        """Run it."""
        self.count += 1
        return self._run(sql, params, execute)

    def failed(self, error: BaseException) -> str:
        """The statement that raised this error, on one line; "" when none did."""
        return self._failed[1] if self._failed is not None and self._failed[0] is error else ""

    def _run(self, sql: str, params: Parameters, execute: Execute) -> Any:
        try:
            return execute(sql, params)
        except Exception as error:
            self._failed = error, one_line(sql)
            raise


class Collector:
    """Collects statements to show them.

    Args:
        run: Whether they are run too.
    """

    def __init__(self, *, run: bool) -> None:
        self.statements: list[str] = []
        self._run = run

    def __call__(self, sql: str, params: Parameters, execute: Execute) -> Any:
        """Remember it."""
        self.statements.append(" ".join(sql.split()))
        return execute(sql, params) if self._run else _NoRows()


class Tracker(Watcher):
    """Runs statements that stay when a later one fails, and notes each before and after, so that none is done twice.

    A statement that changes rows is committed together with its note. One that changes tables commits by itself:
    where a process ended between the two, running it again tells, because it cannot be done twice.

    Args:
        db: The database.
        name: The migration.
        before: What was done of it by an earlier attempt; those are skipped.
        save: Writes the progress to the history.
    """

    def __init__(self, db: peewee.Database, name: str, before: Progress, save: Callable[[Progress], None]) -> None:
        super().__init__()
        self._db = db
        self._name = name
        self._before = before
        self._save = save
        self._skipped = ""
        self.progress = before
        """How far it has come."""

    def __call__(self, sql: str, params: Parameters, execute: Execute) -> Any:
        """Run it, unless it was done before.

        Raises:
            ResumeImpossible: The statements to skip are not those that were done.
        """
        self.count += 1
        if self.count <= self._before.done:
            return self._skip(sql, params)
        after = _noted(self.progress, sql, params)
        if _kind(sql) == "rows" and not self._db.in_transaction():
            with self._db.atomic():
                cursor = self._run(sql, params, execute)
                self._save(after)
        elif _kind(sql) == "rows":
            cursor = self._run(sql, params, execute)
            self._save(after)
        else:
            cursor = self._change_tables(sql, params, execute)
            self._save(after)
        self.progress = after
        return cursor

    def finish(self) -> None:
        """Say that the migration has come to its end.

        Raises:
            ResumeImpossible: It has run fewer statements than were done before.
        """
        if self.count < self._before.done:
            raise ResumeImpossible(self._name, self._before.done, self._before.log)

    def _skip(self, sql: str, params: Parameters) -> _NoRows:
        self._skipped = _digest(self._skipped, sql, params)
        if self.count == self._before.done and self._skipped != self._before.digest:
            raise ResumeImpossible(self._name, self._before.done, self._before.log)
        return _NoRows()

    def _change_tables(self, sql: str, params: Parameters, execute: Execute) -> Any:
        text = one_line(sql)
        perhaps_done = self.count == self._before.done + 1 and self._before.running == text
        self._save(replace(self.progress, running=text))
        try:
            return self._run(sql, params, execute)
        except peewee.DatabaseError as error:
            if perhaps_done and _says_already(error) and "concurrently" not in sql.lower():
                return _NoRows()  # the earlier attempt ended after it was done and before that was noted
            if not isinstance(error, peewee.OperationalError | peewee.InterfaceError) or _answers(self._db):
                self._save(replace(self.progress, running=""))  # the server has refused it: it was not done
            raise


class _NoRows:
    """Stands for the cursor of a statement that was not run."""

    description = None
    lastrowid = None
    rowcount = 0

    def fetchone(self) -> None:
        return None

    def fetchall(self) -> list[object]:
        return []

    def fetchmany(self, size: int = 0) -> list[object]:
        return []

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def close(self) -> None:
        pass


def one_line(sql: str) -> str:
    """A statement as it is shown: on one line, of bounded length, without its parameters."""
    text = " ".join(sql.split())
    return text if len(text) <= LOG_WIDTH else f"{text[: LOG_WIDTH - 3]}..."


def _kind(sql: str) -> Literal["passed", "rows", "tables"]:
    text = _COMMENTS.sub("", sql)
    found = _WORD.match(text.lstrip(" ("))
    word = found.group().lower() if found else ""
    if word in _PASSED or (word == "with" and not _WRITES.search(text)):
        return "passed"
    return "rows" if word in _OF_ROWS else "tables"


def _noted(progress: Progress, sql: str, params: Parameters) -> Progress:
    log = progress.log
    if progress.done < LOG_LINES:
        log = f"{log}\n{one_line(sql)}".lstrip("\n")
    return Progress(done=progress.done + 1, digest=_digest(progress.digest, sql, params), log=log)


def _digest(before: str, sql: str, params: Parameters) -> str:
    """A hash over a statement and all before it. All times count as one: defaults are made anew in each attempt."""
    times = (date, time, timedelta)
    values = [type(value).__name__ if isinstance(value, times) else repr(value) for value in params or ()]
    return hashlib.sha256("\0".join([before, sql, *values]).encode()).hexdigest()


def _says_already(error: peewee.DatabaseError) -> bool:
    """Whether the database refuses a change of tables because it is done: the thing is there, or is gone."""
    cause = error.__context__
    code = getattr(cause, "pgcode", None)
    if code is not None:
        return code in _ALREADY_POSTGRESQL
    if cause is not None and cause.args and isinstance(cause.args[0], int):
        return cause.args[0] in _ALREADY_MYSQL
    return _ALREADY_SQLITE.search(str(error)) is not None


def _answers(db: peewee.Database) -> bool:
    """Whether the connection still works."""
    try:
        row_of(db, "SELECT 1")
    except peewee.PeeweeException:
        return False
    return True
