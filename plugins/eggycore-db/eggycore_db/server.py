"""What both kinds of server have in common: limits, and what a worker's thread knows of its connection."""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from eggycore_db.current import here
from eggycore_db.errors import DatabaseUnavailable, OutsideWorker

if TYPE_CHECKING:
    import peewee

    from eggycore_db.targets import ServerTarget

__all__ = [
    "ROWS_PER_FETCH",
    "ServerLimits",
    "Wire",
    "check_files",
    "cut",
    "driver_error",
    "in_a_worker",
    "model_rows",
    "text_of",
]

ROWS_PER_FETCH = 200
"""Rows that a streaming query fetches at a time."""


_LIBPQ_FRAME = re.compile(
    r"^(?:connection to server (?:at|on socket) .*? failed: )?(?:FATAL: )?| Is the server running .*\?$"
)
"""libpq repeats host and port, and asks whether the server is running."""


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Times in seconds, 0 for no limit.

    Args:
        connect: How long connecting may take.
        statement: How long the server lets a statement run.
        query: How long we wait for one.
        application: The name that the server shows for our connections.
    """

    connect: float = 5.0
    statement: float = 30.0
    query: float = 35.0
    application: str = "eggycore"


class Wire(threading.local):
    """The socket of this thread's connection: to look whether the server has said something, and to cut it."""

    _poll: select.poll | None = None
    _duplicate: socket.socket | None = None

    def attach(self, descriptor: int) -> socket.socket:
        """Take a look-out on the connection's socket.

        Returns:
            A socket of our own for the same connection: the driver's may be closed, and its number taken by another,
            at the moment in which it is cut.
        """
        self.detach()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._duplicate = socket.socket(fileno=socket.dup(descriptor))
        return self._duplicate

    def is_quiet(self) -> bool:
        """Whether the server has said nothing unasked: neither its last words nor the end of the stream."""
        return self._poll is not None and not self._poll.poll(0)

    def detach(self) -> None:
        """Let go of it."""
        self._poll = None
        if self._duplicate is not None:
            self._duplicate.close()
            self._duplicate = None


def cut(duplicate: socket.socket) -> None:
    """End a connection, so that whoever waits for it gets an error; in any thread."""
    with suppress(OSError):  # it is closed already
        duplicate.shutdown(socket.SHUT_RDWR)


def check_files(target: ServerTarget) -> None:
    """See that the files of the TLS settings are there.

    Raises:
        DatabaseUnavailable: One is not.
    """
    if target.tls is None or target.tls.mode == "disable":
        return
    for path in (target.tls.ca, target.tls.certificate, target.tls.key):
        if path is not None and not path.is_file():
            raise DatabaseUnavailable(target.location, "tls file", f"{path} does not exist")


def in_a_worker(database: peewee.Database) -> None:
    """Refuse to connect a thread that is not a worker of this database.

    Raises:
        OutsideWorker: It is not.
    """
    if here.database is None or here.database.peewee is not database:
        raise OutsideWorker(threading.current_thread().name)


def model_rows(query: Any, cursor: Any) -> Iterator[Any]:
    """The rows of a cursor as the query's models, tuples or dicts, one after another, none kept."""
    rows: Iterator[Any] = query._get_cursor_wrapper(cursor).iterator()
    return rows


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error, which peewee keeps as `orig` of what it raises instead."""
    origin = getattr(error, "orig", None)
    return origin if isinstance(origin, BaseException) else error


def text_of(error: BaseException) -> str:
    """What an error says, on one line without a full stop, and without what every error of its driver says."""
    seen = driver_error(error)
    numbered = len(seen.args) == 2 and isinstance(seen.args[0], int)  # PyMySQL: number and text
    text = " ".join((f"{seen.args[1]} ({seen.args[0]})" if numbered else str(seen)).split())
    return _LIBPQ_FRAME.sub("", text).rstrip(".")


def take(rows: Iterator[Any]) -> list[Any]:
    """The next rows, none at the end."""
    return list(islice(rows, ROWS_PER_FETCH))
