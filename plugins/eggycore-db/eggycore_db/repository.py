"""Repositories: who owns which table of which database, and the making of the tables at start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar, overload, runtime_checkable

import peewee

from eggycore_db.errors import TableTaken

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = [
    "DEFAULT_DATABASE",
    "Repository",
    "TableOwner",
    "initialize_all_tables",
    "owner_name",
    "owners_of",
    "register_repository",
]

DEFAULT_DATABASE = "default"
"""The name of the database that has no other."""


@runtime_checkable
class TableOwner(Protocol):
    """What can be registered: it names its table and makes it."""

    @property
    def table_name(self) -> str:
        """The table."""

    def init_table(self, db: peewee.Database) -> None:
        """Make the table and its indexes where they are missing; never drop any. Called in a worker that writes."""


class Repository:
    """Owns the table of one model. Put the queries on that table into a subclass of it.

    What the model has and the database lacks is added at start: the table, columns, indexes. An `init_table` of your
    own takes the place of that, and is called at every start.
    """

    model: ClassVar[type[peewee.Model]]

    @property
    def table_name(self) -> str:
        """The model's table."""
        return str(self.model._meta.table_name)

    def init_table(self, db: peewee.Database) -> None:
        """Make the model's table, columns and indexes where they are missing."""
        from eggycore_db.schema import compare

        for addition in compare(db, [self]).additions:
            addition.make(db)


OwnerOrClass = TypeVar("OwnerOrClass", bound=TableOwner | type[TableOwner])


class Repositories:
    """What has been registered, by database and table, in that order. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owners: dict[tuple[str, str], TableOwner] = {}

    def register(self, owner: TableOwner, database: str = DEFAULT_DATABASE) -> None:
        """Add one; the same class again replaces the first, so that a module may be reloaded.

        Raises:
            TableTaken: Another class has this table.
        """
        key = database, owner.table_name
        with self._lock:
            known = self._owners.setdefault(key, owner)
            if owner_name(known) != owner_name(owner):
                raise TableTaken(owner.table_name, owner_name(known), owner_name(owner))
            self._owners[key] = owner

    def of(self, database: str) -> tuple[TableOwner, ...]:
        """Those of one database."""
        with self._lock:
            return tuple(owner for (name, _), owner in self._owners.items() if name == database)

    def __iter__(self) -> Iterator[TableOwner]:
        with self._lock:
            return iter(tuple(self._owners.values()))


REGISTERED = Repositories()
"""Filled as modules are imported, which is once in a process: a registration names a table, not an open database."""


@overload
def register_repository(repository: OwnerOrClass, /, *, database: str = ...) -> OwnerOrClass: ...
@overload
def register_repository(*, database: str) -> Callable[[OwnerOrClass], OwnerOrClass]: ...
def register_repository(
    repository: OwnerOrClass | None = None, /, *, database: str = DEFAULT_DATABASE
) -> OwnerOrClass | Callable[[OwnerOrClass], OwnerOrClass]:
    """Have a repository's table made when its database is opened. Also a class decorator, with arguments or without.

    Args:
        repository: An instance, or a class that is built without arguments.
        database: Which of the app's databases it is in: one that DATABASES names, or "default".

    Raises:
        TypeError: It lacks `table_name` or `init_table`.
        TableTaken: Another repository has its table.

    Example:
        >>> import peewee
        >>> from eggycore_db import Model, Repository, register_repository
        >>> class Order(Model):
        ...     number = peewee.IntegerField(index=True)
        >>> @register_repository(database="orders")
        ... class Orders(Repository):
        ...     model = Order
    """

    def register(given: OwnerOrClass) -> OwnerOrClass:
        owner: object = given() if isinstance(given, type) else given
        if not isinstance(owner, TableOwner):
            kind = type(owner).__name__
            raise TypeError(f"register_repository() takes a repository with table_name and init_table(db), not {kind}")
        REGISTERED.register(owner, database)
        return given

    return register if repository is None else register(repository)


async def initialize_all_tables(db: Database) -> tuple[str, ...]:
    """Add what the registered repositories of this database need and it lacks, all or nothing where it can roll back.

    Returns:
        The names of all their tables.

    Raises:
        TableNotMade: Something could not be made.
    """
    from eggycore_db.migrations.prepare import add_tables

    owners = owners_of(getattr(db, "name", DEFAULT_DATABASE))
    await add_tables(db, owners)
    return tuple(owner.table_name for owner in owners)


def owners_of(database: str) -> tuple[TableOwner, ...]:
    """The registered repositories of the database of this name."""
    return REGISTERED.of(database)


def owner_name(owner: TableOwner) -> str:
    """Module and class of a repository."""
    return f"{type(owner).__module__}.{type(owner).__qualname__}"
