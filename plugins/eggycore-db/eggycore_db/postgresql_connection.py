"""Connections of psycopg2 that never block by themselves, so that a thread or the event loop may wait for them.

In asynchronous mode psycopg2 sends a statement and returns. The cursors here then wait in the thread that executes,
which makes them like any other for peewee and for functions given to `Database.run`; `PostgresqlLine` has the event
loop wait instead, without a thread.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any

import psycopg2
from psycopg2 import extensions

from eggycore_db.prepared import Prepared

__all__ = ["PostgresqlLine", "WaitingConnection", "connect"]

IDLE = extensions.TRANSACTION_STATUS_IDLE

LONG = 4096
"""Bytes of a statement from which on the socket may not take all of it at once."""

FLUSH_AFTER = 20
"""Milliseconds without an answer after which libpq is asked whether it has sent a short statement."""

_POLL = {extensions.POLL_READ: select.POLLIN, extensions.POLL_WRITE: select.POLLOUT}


class WaitingCursor(extensions.cursor):
    """A cursor that waits for the answer, in its thread, as one of a blocking connection does."""

    connection: WaitingConnection

    def execute(self, query: Any, vars: Any = None) -> None:
        super().execute(query, vars)
        self.connection.wait(len(self.query or b""))

    def executemany(self, query: Any, vars_list: Iterable[Any]) -> None:
        for values in vars_list:
            self.execute(query, values)

    def callproc(self, procname: Any, parameters: Any = None) -> Any:
        result = super().callproc(procname, *(() if parameters is None else (parameters,)))
        self.connection.wait()
        return result


class WaitingConnection(extensions.connection):
    """A connection in asynchronous mode, which is always one of autocommit."""

    _poller: select.poll | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = WaitingCursor

    def commit(self) -> None:
        """Nothing, as in autocommit mode."""

    def rollback(self) -> None:
        """Nothing, as in autocommit mode."""

    def open(self, seconds: float) -> None:
        """Wait until it is there.

        Args:
            seconds: How long it may take; 0 for no limit.

        Raises:
            psycopg2.OperationalError: It cannot be, or took too long.
        """
        deadline = time.monotonic() + seconds
        while (state := self.poll()) != extensions.POLL_OK:
            poller = select.poll()  # anew each time: libpq tries one address after another, each on a socket of its own
            poller.register(self.fileno(), _POLL[state])
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000 if seconds else None):
                self.close()
                raise psycopg2.OperationalError("timeout expired")
        self._poller = select.poll()
        self._poller.register(self.fileno(), select.POLLIN)

    def wait(self, sent: int = LONG) -> None:
        """Wait for the answer to what was sent.

        Args:
            sent: How many bytes.
        """
        assert self._poller is not None
        if sent < LONG:  # it is on its way: to ask libpq would cost more than it tells
            self._poller.poll(FLUSH_AFTER)
        while (state := self.poll()) != extensions.POLL_OK:
            if state == extensions.POLL_READ:
                self._poller.poll()
            else:
                poller = select.poll()
                poller.register(self.fileno(), select.POLLOUT | select.POLLIN)
                poller.poll()

    def is_quiet(self) -> bool:
        """Whether the server has said nothing unasked: neither its last words nor the end of the stream."""
        return self._poller is not None and not self._poller.poll(0)


def connect(parameters: dict[str, Any], seconds: float) -> WaitingConnection:
    """Connect, and wait for it in this thread.

    Args:
        parameters: Of libpq.
        seconds: How long it may take; 0 for no limit.

    Raises:
        psycopg2.OperationalError: It cannot be, or took too long.
    """
    connection: WaitingConnection = psycopg2.connect(**parameters, connection_factory=WaitingConnection, async_=True)
    connection.open(seconds)
    return connection


class PostgresqlLine:
    """One connection as the event loop uses it, while the thread that owns it sleeps. For the loop only.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: WaitingConnection) -> None:
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None  # while it watches the socket
        self._descriptor = -1
        self._writes = False
        self._cursor: Any = None
        self._answered: Callable[[Any, BaseException | None], None] | None = None

    @property
    def closed(self) -> bool:
        """Whether the connection is of no use any more."""
        return bool(self._connection.closed)

    @property
    def is_reset(self) -> bool:
        """Whether no transaction is open."""
        return self._connection.get_transaction_status() == IDLE

    def is_quiet(self) -> bool:
        """Whether the server has said nothing unasked."""
        return self._connection.is_quiet()

    def send(
        self,
        loop: asyncio.AbstractEventLoop,
        prepared: Prepared,
        answered: Callable[[Any, BaseException | None], None],
    ) -> None:
        """Send a statement, and have `answered` called with its cursor or its error, never before this returns.

        Raises:
            psycopg2.Error: It could not be sent.
            Exception: What the driver raises for values that it does not know.
        """
        connection = self._connection
        sql = prepared.sql
        if prepared.begin and connection.get_transaction_status() == IDLE:
            sql = f"{prepared.begin};{sql}"
        self._cursor = cursor = connection.cursor(cursor_factory=extensions.cursor)  # a used one keeps its rows
        cursor.execute(sql, prepared.values)
        self._answered = answered
        if self._loop is None:
            self._loop, self._descriptor = loop, connection.fileno()
            Context().run(loop.add_reader, self._descriptor, self._look)  # it outlives who waits for this answer
        state = connection.poll()
        if state == extensions.POLL_WRITE:  # more than the socket takes at once
            self._writes = True
            Context().run(loop.add_writer, self._descriptor, self._look)
        elif state == extensions.POLL_OK:
            loop.call_soon(self._finish_at_once, answered)

    def let_go(self) -> None:
        """Watch the socket no more: from here on a thread uses the connection, or closes it."""
        if self._loop is None:
            return
        loop, self._loop = self._loop, None
        loop.remove_reader(self._descriptor)
        self._stop_writing(loop)

    def _look(self) -> None:
        if self._answered is None:  # it says something unasked, which a thread looks at before its next use
            self.let_go()
            return
        try:
            state = self._connection.poll()
        except psycopg2.Error as error:
            self._finish(error)
            return
        if state != extensions.POLL_WRITE and self._writes and self._loop is not None:
            self._stop_writing(self._loop)
        if state == extensions.POLL_OK:
            self._finish(None)

    def _stop_writing(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._writes:
            self._writes = False
            loop.remove_writer(self._descriptor)

    def _finish_at_once(self, answered: Callable[[Any, BaseException | None], None]) -> None:
        if self._answered is answered:  # the socket has not told it already
            self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        answered, self._answered = self._answered, None
        cursor, self._cursor = self._cursor, None
        if answered is not None:
            answered(cursor, error)
