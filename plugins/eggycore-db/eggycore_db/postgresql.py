"""PostgreSQL, through psycopg2: its connections, and what its errors mean."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from eggycore_db.drivers import load_postgresql

load_postgresql()

import peewee  # noqa: E402  # after its driver
import psycopg2  # noqa: E402  # after its driver
from psycopg2 import extensions  # noqa: E402  # after its driver

from eggycore_db.errors import DatabaseNotUp, DatabaseUnavailable, ServerTrouble  # noqa: E402  # after its driver
from eggycore_db.postgresql_connection import PostgresqlLine, WaitingConnection, connect  # noqa: E402  # after its driver
from eggycore_db.server import (  # noqa: E402  # after its driver
    ROWS_PER_FETCH,
    ServerLimits,
    check_files,
    cut,
    driver_error,
    in_a_worker,
    model_rows,
    text_of,
)
from eggycore_db.server_engine import ServerEngine  # noqa: E402  # after its driver
from eggycore_db.targets import ServerTarget  # noqa: E402  # after its driver
from eggycore_db.tls_look import certificate_trouble  # noqa: E402  # after its driver

if TYPE_CHECKING:
    from eggycore_db.engine import EngineKind, Line

__all__ = ["PostgresqlEngine"]

READ_ONLY = "25006"
"""SQLSTATE of a write on a server that takes none: a standby, or default_transaction_read_only."""

CANCELED = "57014"
"""SQLSTATE of a statement that was ended, by its timeout or by somebody."""

LOOKS_SINCE = 140000
"""PostgreSQL's version that can look for clients that have left."""

LOOK = "client_connection_check_interval=2000"
"""Milliseconds between such looks. A statement that nobody waits for ends with its locks, and is not committed."""

HAS_READERS = sys.platform != "win32"
"""Whether event loops can watch sockets; those of Windows cannot."""

_LOST_STATES = ("57P01", "57P02", "57P03", "57P05", "08")
"""SQLSTATEs that end a connection: shut down, crash, cannot connect now, idle too long, connection exceptions."""

_TROUBLE_BY_TEXT: tuple[tuple[str, ServerTrouble], ...] = (
    # libpq has no codes for what happens before there is a connection; its own texts are English or the locale's,
    # the server's are in the language of its lc_messages. What is not known by its text is told in those words.
    ("password authentication failed", "password"),
    ("no password supplied", "password"),
    ("authentication failed", "password"),
    ("no pg_hba.conf entry", "access"),
    ("permission denied", "access"),
    ("too many clients", "too many"),
    ("too many connections", "too many"),
    ("remaining connection slots", "too many"),
    ("the database system is", "starting"),
    ('role "', "password"),
    ('database "', "no database"),  # after those that name the database by the way
    ("server does not support ssl", "tls missing"),
    ("certificate verify failed", "tls untrusted"),
    ("root certificate file", "tls file"),
    ("could not load", "tls file"),
    ("could not read root certificate", "tls file"),
    ("certificate file", "tls file"),
    ("private key file", "tls file"),
    ("does not match host name", "tls name"),
    ("could not translate host name", "unknown host"),
    ("timeout expired", "timeout"),
    ("connection refused", "refused"),
    ("no such file or directory", "refused"),
    ("no route to host", "timeout"),
    ("network is unreachable", "timeout"),
    ("connection timed out", "timeout"),
    ("connection reset", "lost"),
    ("server closed the connection", "lost"),
)

_COMES_UP: frozenset[ServerTrouble] = frozenset(("refused", "unknown host", "timeout", "starting", "too many", "lost"))
"""What may pass by itself, so that a start tries again."""


class _Pending(threading.local):
    """What a thread's connection waits for."""

    begin = False
    """Whether BEGIN waits for the first statement of the transaction, to share a round trip with it."""
    blocking = False
    """Whether the next connection is one of which the driver waits."""


class _WorkerPostgresql(peewee.PostgresqlDatabase):
    """A peewee database that connects in its own worker threads only, and sends BEGIN with the first statement."""

    engine: PostgresqlEngine
    _state: Any

    def __init__(self, database: str) -> None:
        self.pending = _Pending()
        super().__init__(database)

    def _connect(self) -> Any:
        in_a_worker(self)
        return self.engine.driver_connection(blocking=self.pending.blocking)

    def begin(self, isolation_level: Any = None) -> None:
        if self._state.conn.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE:
            return  # the event loop has begun it
        if isolation_level is None:
            self.pending.begin = True
        else:
            super().begin(isolation_level)

    def _execute_cursor(self, sql: str, params: Any, **options: Any) -> Any:
        if not self.pending.begin:
            return super()._execute_cursor(sql, params, **options)  # type: ignore[misc]  # peewee's stubs lack it
        try:
            cursor = super()._execute_cursor(f"BEGIN;{sql}", params, **options)  # type: ignore[misc]  # likewise
        finally:  # a value that the driver cannot send is an error before anything was sent
            status = self._state.conn.info.transaction_status
            self.pending.begin = bool(status == extensions.TRANSACTION_STATUS_IDLE)
        return cursor

    def commit(self) -> Any:
        if self._forget_begin():
            return None
        return super().commit()

    def rollback(self) -> Any:
        if self._forget_begin():
            return None
        return super().rollback()

    def _forget_begin(self) -> bool:
        """Whether the transaction that ends now never began on the server."""
        never_began, self.pending.begin = self.pending.begin, False
        return never_began


class PostgresqlEngine(ServerEngine):
    """One PostgreSQL database.

    Args:
        target: Where it is, and who connects.
        limits: Timeouts and the name to connect under.
        writes: Whether it has to take writes; a replica has not.
    """

    kind: EngineKind = "postgresql"

    def __init__(self, target: ServerTarget, *, limits: ServerLimits, writes: bool = True) -> None:
        database = _WorkerPostgresql(target.name)
        database.engine = self
        super().__init__(target, database, limits=limits, writes=writes)
        self._looks: bool | None = None

    @property
    def prepares(self) -> bool:
        return HAS_READERS

    def driver_connection(self, *, blocking: bool) -> Any:
        """A connection of psycopg2, in autocommit mode as peewee wants it."""
        check_files(self._target)  # libpq goes on without the client's certificate
        connection: Any
        if blocking or not HAS_READERS:
            connection = psycopg2.connect(**self._parameters())
            connection.autocommit = True
        else:
            connection = connect(self._parameters(), max(2, round(self._limits.connect)))
        if self._looks is None:
            self._looks = _looks_for_clients(connection)  # the next connections ask for it in their first message
        return connection

    def connect(self, *, blocking: bool = False) -> Callable[[], None]:
        self._peewee.pending.begin, self._peewee.pending.blocking = False, blocking
        self._peewee.connect()
        return partial(cut, self._wire.attach(self._peewee.connection().fileno()))

    def line(self) -> Line | None:
        connection = self._peewee.connection()
        return PostgresqlLine(connection) if isinstance(connection, WaitingConnection) else None

    def alive(self) -> bool:
        if self._wire.is_quiet():
            return True
        try:  # its last words, or a notice
            self._peewee.execute_sql("SELECT 1")
        except peewee.PeeweeException:
            return False
        return True

    def reset(self) -> bool:
        database: Any = self._peewee
        state = database._state
        status = state.conn.info.transaction_status
        if not state.transactions and status == extensions.TRANSACTION_STATUS_IDLE:
            return False
        database.pending.begin = False
        if status != extensions.TRANSACTION_STATUS_IDLE:
            state.conn.cursor().execute("ROLLBACK")
        state.transactions.clear()
        database._clear_commit_callbacks()
        return True

    def disconnect(self) -> None:
        database: Any = self._peewee
        self._wire.detach()
        if not database.is_closed():
            with suppress(psycopg2.Error):  # it is broken, which is why it is closed
                database._state.conn.close()
        database.dispose()

    def prove(self) -> None:
        self._peewee.execute_sql("SELECT 1")
        if self._writes and not self.writable():
            raise DatabaseNotUp(self.location, "read-only", "it is a standby or set to read-only")

    def writable(self) -> bool:
        cursor = self._peewee.execute_sql(
            "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"
        )
        return not cursor.fetchone()[0]

    def fault(self, error: BaseException, line: Line | None = None) -> DatabaseUnavailable | None:
        state = sqlstate(error)
        if state == READ_ONLY:
            return DatabaseUnavailable(self.location, "read-only", text_of(error))
        if state.startswith(_LOST_STATES):
            return DatabaseUnavailable.lost(self.location, text_of(error))
        if not isinstance(error, peewee.DatabaseError | peewee.InterfaceError | psycopg2.Error):
            return None
        connection = line or self._peewee._state.conn
        if connection is None or connection.closed:
            return DatabaseUnavailable.lost(self.location, text_of(error))
        return None

    def conflict(self, error: BaseException) -> bool:
        return sqlstate(error) in ("40001", "40P01")

    def timed_out(self, error: BaseException) -> bool:
        return sqlstate(error) == CANCELED and self._limits.statement > 0 and "statement timeout" in text_of(error)

    def is_aborted(self) -> bool:
        return bool(self._peewee._state.conn.info.transaction_status == extensions.TRANSACTION_STATUS_INERROR)

    def explain(self, error: BaseException) -> BaseException:
        if isinstance(error, DatabaseUnavailable) or not isinstance(
            error, peewee.PeeweeException | psycopg2.Error | OSError
        ):
            return error
        text = text_of(error)
        lowered = " ".join(str(driver_error(error)).split()).lower()
        trouble: ServerTrouble = next((kind for words, kind in _TROUBLE_BY_TEXT if words in lowered), "other")
        if trouble == "access" and "no encryption" in lowered and self._in_clear:
            trouble = "tls required"
        if trouble == "tls untrusted":
            text = certificate_trouble(self._target, self._limits.connect or 10.0) or text
            trouble = "tls expired" if "expired" in text or "not yet valid" in text else trouble
        kind = DatabaseNotUp if trouble in _COMES_UP else DatabaseUnavailable
        explained = kind(self.location, trouble, text, self._target.user)
        explained.__cause__ = error
        return explained

    @property
    def _in_clear(self) -> bool:
        """Whether encryption was switched off, and not only left to the server."""
        return self._target.tls is not None and self._target.tls.mode == "disable"

    def rows(self, query: Any) -> Iterator[Any]:
        sql, params = self._peewee.get_sql_context().sql(query).query()
        with self._peewee.atomic():
            self._peewee.execute_sql(f"DECLARE eggycore_rows NO SCROLL CURSOR FOR {sql}", params)
            yield from model_rows(query, _Fetched(self._peewee))

    def _parameters(self) -> dict[str, Any]:
        target, limits = self._target, self._limits
        options = dict(target.options)
        server = f"-c statement_timeout={round(limits.statement * 1000)}"
        if self._looks:
            server += f" -c {LOOK}"
        given = options.pop("options", "")
        parameters: dict[str, Any] = {
            "host": str(target.socket) if target.socket is not None else target.host,
            "port": target.port,
            "dbname": target.name,
            "user": target.user,
            "application_name": limits.application,
            "connect_timeout": max(2, round(limits.connect)),  # libpq takes whole seconds, and 1 as 2
            "options": f"{server} {given}".strip(),
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            **options,
        }
        if limits.query:
            parameters["tcp_user_timeout"] = round(limits.query * 1000)
        if target.password is not None:
            parameters["password"] = target.password.reveal()
        if (tls := target.tls) is not None:
            files = {"sslrootcert": tls.ca, "sslcert": tls.certificate, "sslkey": tls.key}
            parameters["sslmode"] = tls.mode
            parameters |= {name: str(path) for name, path in files.items() if path is not None}
            if tls.ca is None and tls.mode == "verify-full":
                parameters["sslrootcert"] = "system"
        return parameters


def _looks_for_clients(connection: Any) -> bool:
    """Have the server look while a statement runs whether we are still there, and end it if not; whether it can."""
    if connection.server_version < LOOKS_SINCE:
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SET {LOOK}")
    except (psycopg2.DataError, psycopg2.ProgrammingError, psycopg2.NotSupportedError):  # not on every system
        return False
    return True


class _Fetched:
    """A cursor of the driver's kind over the rows of the server's, fetched in steps."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._rows: deque[Any] = deque()
        self._more = True
        self.description: Any = None
        self._fetch()

    def fetchone(self) -> Any:
        if not self._rows and self._more:
            self._fetch()
        return self._rows.popleft() if self._rows else None

    def close(self) -> None:
        self._rows.clear()

    def _fetch(self) -> None:
        cursor = self._database.execute_sql(f"FETCH {ROWS_PER_FETCH} FROM eggycore_rows")
        self.description = cursor.description
        self._rows.extend(cursor.fetchall())
        self._more = len(self._rows) == ROWS_PER_FETCH


def sqlstate(error: BaseException) -> str:
    """The five characters of an error of the server, "" when it has none."""
    return getattr(driver_error(error), "pgcode", None) or ""
