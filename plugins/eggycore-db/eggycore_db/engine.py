"""What a kind of database does for the pool: connections of the worker thread that calls, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import peewee

    from eggycore_db.errors import DatabaseUnavailable
    from eggycore_db.server import ServerLimits
    from eggycore_db.targets import ServerTarget

__all__ = ["Engine", "EngineKind"]

EngineKind = Literal["mysql", "postgresql", "sqlite"]


class Engine(Protocol):
    """One database. Methods without another word are called in a worker thread, about that thread's connection."""

    @property
    def kind(self) -> EngineKind:
        """Whose SQL it speaks."""

    @property
    def location(self) -> str:
        """Where it is, without secrets; in any thread."""

    @property
    def peewee(self) -> peewee.Database:
        """The peewee database, whose connection is that of the thread that asks."""

    @property
    def statement_limit(self) -> float:
        """Seconds that the server lets a statement run, 0 for no limit; in any thread."""

    def connect(self) -> Callable[[], None]:
        """Connect.

        Returns:
            A function that ends whatever the connection waits for, callable in any thread while it is open.
        """

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

    def fault(self, error: BaseException) -> DatabaseUnavailable | None:
        """What an error means when it is the server's or the connection's state; None when it is the query's."""

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
