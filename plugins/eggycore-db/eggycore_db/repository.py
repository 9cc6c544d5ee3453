"""Repositories: who owns which table, and the making of the tables at start."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar, runtime_checkable

import peewee

from eggycore_db.errors import TableNotMade, TableTaken

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["Repository", "TableOwner", "initialize_all_tables", "register_repository"]


@runtime_checkable
class TableOwner(Protocol):
    """What can be registered: it names its table and makes it."""

    @property
    def table_name(self) -> str:
        """The table."""

    def init_table(self, db: peewee.Database) -> None:
        """Make the table and its indexes where they are missing; never drop any. Called in a worker that writes."""


class Repository:
    """Owns the table of one model. Put the queries on that table into a subclass of it."""

    model: ClassVar[type[peewee.Model]]

    @property
    def table_name(self) -> str:
        """The model's table."""
        return str(self.model._meta.table_name)

    def init_table(self, db: peewee.Database) -> None:
        """Make the model's table and indexes where they are missing."""
        db.create_tables([self.model])


OwnerOrClass = TypeVar("OwnerOrClass", bound=TableOwner | type[TableOwner])


class Repositories:
    """What has been registered, by table, in that order. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owners: dict[str, TableOwner] = {}

    def register(self, owner: TableOwner) -> None:
        """Add one; the same class again replaces the first, so that a module may be reloaded.

        Raises:
            TableTaken: Another class has this table.
        """
        with self._lock:
            known = self._owners.setdefault(owner.table_name, owner)
            if _name(known) != _name(owner):
                raise TableTaken(owner.table_name, _name(known), _name(owner))
            self._owners[owner.table_name] = owner

    def __iter__(self) -> Iterator[TableOwner]:
        with self._lock:
            return iter(tuple(self._owners.values()))


REGISTERED = Repositories()
"""Filled as modules are imported, which is once in a process: a registration names a table, not a database."""


def register_repository(repository: OwnerOrClass) -> OwnerOrClass:
    """Have a repository's table made when the database is opened.

    Args:
        repository: An instance, or a class that is built without arguments; so it is a class decorator too.

    Raises:
        TypeError: It lacks `table_name` or `init_table`.
        TableTaken: Another repository has its table.
    """
    owner: object = repository() if isinstance(repository, type) else repository
    if not isinstance(owner, TableOwner):
        raise TypeError(
            f"register_repository() takes a repository with table_name and init_table(db), not {type(owner).__name__}"
        )
    REGISTERED.register(owner)
    return repository


async def initialize_all_tables(db: Database) -> tuple[str, ...]:
    """Make the tables of every registered repository where they are missing, all or none.

    Returns:
        The names of all their tables.

    Raises:
        TableNotMade: One could not be made; none was.
    """
    owners = tuple(REGISTERED)
    await db.run(_make_tables, db.peewee, owners)
    return tuple(owner.table_name for owner in owners)


def _make_tables(db: peewee.Database, owners: tuple[TableOwner, ...]) -> None:
    with db.atomic():
        for owner in owners:
            try:
                owner.init_table(db)
            except peewee.PeeweeException as error:
                raise TableNotMade(owner.table_name, _name(owner), str(error)) from error


def _name(owner: TableOwner) -> str:
    return f"{type(owner).__module__}.{type(owner).__qualname__}"
