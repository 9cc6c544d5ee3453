"""MySQL, MariaDB and TiDB, through PyMySQL: their connections, and what their errors mean."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from eggycore_db.drivers import load_mysql

load_mysql()

import peewee  # noqa: E402  # after its driver
import pymysql  # noqa: E402  # after its driver
from pymysql.cursors import SSCursor  # noqa: E402  # after its driver

from eggycore_db.errors import DatabaseNotUp, DatabaseUnavailable, ServerTrouble  # noqa: E402  # after its driver
from eggycore_db.server import (  # noqa: E402  # after its driver
    ServerLimits,
    check_files,
    cut,
    driver_error,
    in_a_worker,
    model_rows,
    text_of,
)
from eggycore_db.server_engine import ServerEngine  # noqa: E402  # after its driver
from eggycore_db.targets import ServerTarget, Tls  # noqa: E402  # after its driver

if TYPE_CHECKING:
    from eggycore_db.engine import EngineKind, Line

__all__ = ["MysqlEngine"]

_READ_ONLY = frozenset((1290, 1792, 1836))
"""--read-only, read-only transaction, read-only mode."""

_LOST = frozenset((1053, 1927, 2006, 2013, 2014, 2055, 4031))
"""Server shutdown, connection killed, gone away, lost during query, out of sync, lost (long form), idle too long."""

_CONFLICT = frozenset((1205, 1213, 1020, 8002, 9007))
"""Lock wait timeout, deadlock, record changed since read (MariaDB); TiDB's write conflicts."""

TLS_FAILED = 2026
"""PyMySQL's: the server does not speak TLS, as a handshake that fails has an error of its own."""

_TIMED_OUT = frozenset((1969, 3024))
"""max_statement_time of MariaDB, max_execution_time of MySQL and TiDB."""

_TROUBLE_BY_CODE: dict[int, ServerTrouble] = {
    1040: "too many",
    1041: "too many",
    1203: "too many",
    1226: "too many",
    1042: "unknown host",
    1044: "access",
    1045: "password",
    1049: "no database",
    1129: "access",
    1130: "access",
    1227: "access",
    1251: "password",
    1698: "password",
    3159: "tls required",
    3636: "access",
}

_COMES_UP: frozenset[ServerTrouble] = frozenset(("refused", "unknown host", "timeout", "starting", "too many", "lost"))
"""What may pass by itself, so that a start tries again."""


class _WorkerMysql(peewee.MySQLDatabase):
    """A peewee database that connects in its own worker threads only."""

    engine: MysqlEngine

    def _connect(self) -> Any:
        in_a_worker(self)
        return self.engine.driver_connection()

    def _set_server_version(self, conn: Any) -> None:
        self.mariadb = "mariadb" in conn.get_server_info().lower()  # its JSON is written in another way
        super()._set_server_version(conn)  # type: ignore[misc]  # not in peewee's stubs

    def _extract_server_version(self, version: Any) -> tuple[int, ...]:
        if "tidb" in str(version).lower():
            return (8, 0, 11)  # what TiDB offers; its own version numbers mislead peewee's look at the dialect
        found: tuple[int, ...] = super()._extract_server_version(version)  # type: ignore[misc]  # not in peewee's stubs
        return found


class MysqlEngine(ServerEngine):
    """One database of a server that speaks MySQL's protocol.

    Args:
        target: Where it is, and who connects.
        limits: Timeouts and the name to connect under.
        writes: Whether it has to take writes; a replica has not.
    """

    kind: EngineKind = "mysql"

    def __init__(self, target: ServerTarget, *, limits: ServerLimits, writes: bool = True) -> None:
        database = _WorkerMysql(target.name)
        database.engine = self
        super().__init__(target, database, limits=limits, writes=writes)

    @property
    def prepares(self) -> bool:
        return False

    def driver_connection(self) -> Any:
        """A connection of PyMySQL, in autocommit mode as peewee wants it."""
        check_files(self._target)
        parameters = self._parameters()
        later = {name: parameters.get(name) for name in ("read_timeout", "write_timeout")}
        # PyMySQL's connect_timeout ends with TCP's part of it: a server that takes the call and says nothing is silent.
        parameters |= dict.fromkeys(later, parameters["connect_timeout"])
        connection: Any = pymysql.connect(**parameters)
        if self._limits.statement:
            with connection.cursor() as cursor:
                cursor.execute(_limit_statements(connection.get_server_info(), self._limits.statement))
        connection._read_timeout, connection._write_timeout = later["read_timeout"], later["write_timeout"]
        return connection

    def connect(self, *, blocking: bool = False) -> Callable[[], None]:
        self._peewee.connect()
        driver_socket = self._peewee.connection()._sock
        _keep_alive(driver_socket)
        driver_socket.settimeout(None)  # the connect timeout is over; what a query may take, the pool watches
        return partial(cut, self._wire.attach(driver_socket.fileno()))

    def line(self) -> None:
        return None

    def alive(self) -> bool:
        if self._wire.is_quiet():
            return True
        try:
            self._peewee.connection().ping(reconnect=False)
        except (pymysql.Error, OSError):
            return False
        return True

    def reset(self) -> bool:
        database: Any = self._peewee
        state = database._state
        if not state.conn.open:
            raise pymysql.InterfaceError("the connection is closed")
        in_transaction = bool(state.conn.server_status & pymysql.constants.SERVER_STATUS.SERVER_STATUS_IN_TRANS)
        if not state.transactions and not in_transaction:
            return False
        state.conn.rollback()
        state.transactions.clear()
        database._clear_commit_callbacks()
        return True

    def disconnect(self) -> None:
        database: Any = self._peewee
        self._wire.detach()
        if not database.is_closed():
            with suppress(pymysql.Error, OSError):  # it is broken, which is why it is closed
                database._state.conn.close()
            database._state.conn._force_close()
        database.dispose()

    def prove(self) -> None:
        self._peewee.execute_sql("SELECT 1")
        if self._writes and not self.writable():
            raise DatabaseNotUp(self.location, "read-only", "its read_only is on")

    def writable(self) -> bool:
        return not self._peewee.execute_sql("SELECT @@global.read_only").fetchone()[0]

    def fault(self, error: BaseException, line: Line | None = None) -> DatabaseUnavailable | None:
        code = error_code(error)
        if code in _READ_ONLY:
            return DatabaseUnavailable(self.location, "read-only", text_of(error))
        if code in _LOST or isinstance(driver_error(error), pymysql.InterfaceError | OSError):
            connection = self._peewee._state.conn
            if code in _LOST or connection is None or not connection.open:
                return DatabaseUnavailable.lost(self.location, text_of(error))
        return None

    def conflict(self, error: BaseException) -> bool:
        return error_code(error) in _CONFLICT

    def timed_out(self, error: BaseException) -> bool:
        return error_code(error) in _TIMED_OUT

    def is_aborted(self) -> bool:
        return False

    def explain(self, error: BaseException) -> BaseException:
        if isinstance(error, DatabaseUnavailable) or not isinstance(
            error, peewee.PeeweeException | pymysql.Error | OSError | RuntimeError
        ):
            return error
        trouble = _trouble(error)
        kind = DatabaseNotUp if trouble in _COMES_UP else DatabaseUnavailable
        text = text_of(error)
        if trouble == "password" and (self._target.tls is None or self._target.tls.mode == "disable"):
            text += "; one that insists on TLS may say the same"
        explained = kind(self.location, trouble, text, self._target.user)
        explained.__cause__ = error
        return explained

    def rows(self, query: Any) -> Iterator[Any]:
        sql, params = self._peewee.get_sql_context().sql(query).query()
        connection = self._peewee.connection()
        cursor = connection.cursor(SSCursor)
        exhausted = False
        try:
            cursor.execute(sql, params)
            yield from model_rows(query, cursor)
            exhausted = True
        finally:
            if not exhausted:  # the server goes on sending, and only closing the connection ends that
                cursor._result.unbuffered_active = False
                cursor._result = None
                connection._force_close()

    def _parameters(self) -> dict[str, Any]:
        target, limits = self._target, self._limits
        parameters: dict[str, Any] = {
            "database": target.name,
            "user": target.user,
            "password": target.password.reveal() if target.password is not None else "",
            "charset": "utf8mb4",
            "autocommit": True,
            "connect_timeout": limits.connect or 10,
            "program_name": limits.application,
            **{name: float(text) if name.endswith("_timeout") else text for name, text in target.options.items()},
        }
        if target.socket is not None:
            parameters["unix_socket"] = str(target.socket)
        else:
            parameters |= {"host": target.host, "port": target.port}
        if (tls := target.tls) is not None:
            parameters["ssl"] = None if tls.mode == "disable" else self._context(tls)
            parameters["ssl_disabled"] = tls.mode == "disable"
        return parameters

    def _context(self, tls: Tls) -> ssl.SSLContext:
        try:
            return _context(tls)
        except OSError as error:  # ssl.SSLError too: a file that is no certificate
            raise DatabaseUnavailable(self.location, "tls file", text_of(error)) from error


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca is not None else None)
    context.check_hostname = tls.mode == "verify-full"
    if tls.mode == "require":
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate is not None:
        context.load_cert_chain(str(tls.certificate), str(tls.key) if tls.key is not None else None)
    return context


def _limit_statements(version: str, seconds: float) -> str:
    """MariaDB limits every statement, in seconds; MySQL and TiDB only SELECT, in milliseconds."""
    if "mariadb" in version.lower():
        return f"SET SESSION max_statement_time={seconds:g}"
    return f"SET SESSION max_execution_time={round(seconds * 1000)}"


def _keep_alive(driver_socket: socket.socket) -> None:
    if driver_socket.family == getattr(socket, "AF_UNIX", None):
        return
    driver_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if (option := getattr(socket, name, None)) is not None:
            driver_socket.setsockopt(socket.IPPROTO_TCP, option, value)


def _trouble(error: BaseException) -> ServerTrouble:
    code, seen = error_code(error), driver_error(error)
    if (known := _TROUBLE_BY_CODE.get(code)) is not None:
        return known
    origin: BaseException | None = getattr(seen, "original_exception", None) or seen.__context__ or seen
    if isinstance(origin, ssl.SSLCertVerificationError):
        return _tls_trouble(origin)
    if isinstance(origin, ssl.SSLError):
        return "tls untrusted"
    if isinstance(origin, socket.gaierror):
        return "unknown host"
    if isinstance(origin, TimeoutError):
        return "timeout"
    if isinstance(origin, ConnectionRefusedError | FileNotFoundError):
        return "refused"
    if code == TLS_FAILED:
        return "tls missing"
    return "lost" if code in _LOST or isinstance(origin, ConnectionError) else "other"


def _tls_trouble(error: ssl.SSLCertVerificationError) -> ServerTrouble:
    text = error.verify_message.lower()
    if "expired" in text or "not yet valid" in text:
        return "tls expired"
    return "tls name" if "hostname" in text or "ip address mismatch" in text else "tls untrusted"


def error_code(error: BaseException) -> int:
    """The number of an error of the server or of PyMySQL, 0 when it has none."""
    seen = driver_error(error)
    code = seen.args[0] if seen.args else 0
    return code if isinstance(code, int) else 0
