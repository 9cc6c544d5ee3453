"""What a kind of database does for the pool: connections of the worker thread that calls, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import asyncio

    import peewee

    from eggycore_db.errors import DatabaseUnavailable
    from eggycore_db.prepared import Prepared
    from eggycore_db.server import ServerLimits
    from eggycore_db.targets import ServerTarget

__all__ = ["Engine", "EngineKind", "Line"]

EngineKind = Literal["mysql", "postgresql", "sqlite"]


class Line(Protocol):
    """A worker's connection as the event loop uses it while the thread sleeps. For the loop only."""

    @property
    def closed(self) -> bool:
        """Whether the connection is of no use any more."""

    @property
    def is_reset(self) -> bool:
        """Whether no transaction is open."""

    def is_quiet(self) -> bool:
        """Whether the server has said nothing unasked."""

    def send(
        self,
        loop: asyncio.AbstractEventLoop,
        prepared: Prepared,
        answered: Callable[[Any, BaseException | None], None],
    ) -> None:
        """Send a statement, and have `answered` called with its cursor or its error, never before this returns.

        Raises:
            Exception: What the driver raises when it cannot be sent.
        """

    def let_go(self) -> None:
        """Watch the socket no more: from here on the thread uses the connection, or closes it."""


class Engine(Protocol):
    """One database. Methods without another word are called in a worker thread, about that thread's connection."""

    @property
    def kind(self) -> EngineKind:
        """Whose SQL it speaks."""

    @property
    def prepares(self) -> bool:
        """Whether its connections may have a `line`; in any thread."""

    @property
    def location(self) -> str:
        """Where it is, without secrets; in any thread."""

    @property
    def peewee(self) -> peewee.Database:
        """The peewee database, whose connection is that of the thread that asks."""

    @property
    def statement_limit(self) -> float:
        """Seconds that the server lets a statement run, 0 for no limit; in any thread."""

    def connect(self, *, blocking: bool = False) -> Callable[[], None]:
        """Connect.

        Args:
            blocking: Whether the driver itself has to wait, which only then can do everything it can.

        Returns:
            A function that ends whatever the connection waits for, callable in any thread while it is open.
        """

    def line(self) -> Line | None:
        """The connection as the event loop may use it; None when only the thread can."""

    def alive(self) -> bool:
        """Whether a connection that was idle can still be used; costs no round trip when nothing has happened."""

    def reset(self) -> bool:
        """Roll back whatever transaction was left open; whether there was one."""

    def disconnect(self) -> None:
        """Disconnect; never raises."""

    def prove(self) -> None:
        """Make sure that the database can be read and written; raises what the driver raises."""

    def set_credentials(self, target: ServerTarget) -> None:
        """Connect from now on as this user; in any thread."""

    def set_limits(self, limits: ServerLimits) -> None:
        """Connect from now on with these limits; in any thread."""

    def look(self) -> None:
        """Look from outside, in any thread, whether the database is there; raises CheckFailed when it is not."""

    def writable(self) -> bool:
        """Ask whether the database takes writes now; raises what the driver raises."""

    def fault(self, error: BaseException, line: Line | None = None) -> DatabaseUnavailable | None:
        """What an error means when it is the server's or the connection's state; None when it is the query's.

        Args:
            error: What was raised.
            line: Where, when it was not by this thread's connection.
        """

    def conflict(self, error: BaseException) -> bool:
        """Whether an error says that the transaction lost against another one, and may be tried again."""

    def timed_out(self, error: BaseException) -> bool:
        """Whether an error says that the server ended a statement that took longer than DATABASE_STATEMENT_TIMEOUT."""

    def is_aborted(self) -> bool:
        """Whether the server would roll back what is asked to commit, as a statement in it has failed."""

    def explain(self, error: BaseException) -> BaseException:
        """What an error of `connect` or `prove` means."""

    def rows(self, query: Any) -> Iterator[Any]:
        """An iterator over the rows of a query that fetches them in steps; valid while the connection is held."""
