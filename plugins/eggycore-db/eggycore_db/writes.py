"""The short forms that write: one row, one query, or many rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import eggycore_db.drivers  # noqa: F401  # before peewee is imported

import peewee  # isort: skip
from peewee import BaseQuery, CursorWrapper, Model  # isort: skip

from eggycore_db.models import PLAIN_CREATES
from eggycore_db.reads import Reads

if TYPE_CHECKING:
    from eggycore_db.bulk import BulkResult, Progress, Rows
    from eggycore_db.bulk_plans import Fields
    from eggycore_db.bulk_writing import Writing
    from eggycore_db.engine import Engine
    from eggycore_db.pool import Pool
    from eggycore_db.prepared import Prepared
    from eggycore_db.transaction import Transaction

__all__ = ["Writes"]

M = TypeVar("M", bound=Model)


class Writes(Reads):
    """What can be written to."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What is particular to its kind."""

    @abstractmethod
    def open_transaction(self) -> Transaction | None:
        """The transaction that is open here: this task's own, or that of the task that started this one."""

    @abstractmethod
    def _writing_pool(self) -> Pool:
        """Where writing is possible.

        Raises:
            DatabaseClosed: The database is not open.
        """

    async def execute(self, query: BaseQuery) -> Any:
        """Run an insert, update, delete or raw query.

        Returns:
            The new row's key of an insert, the number of rows of an update or delete, the list of rows of a raw
            query or one with `returning`.
        """
        query = query.clone()
        prepared = self.statements.prepared_write(self.engine.peewee, query) if self.engine.prepares else None
        return await self._submit(self._writing_pool(), _execute, (self.engine.peewee, query), prepared)

    async def create(self, model: type[M], **fields: object) -> M:
        """Insert a row and return it as a model with its key. Defaults of the model's fields should not block."""
        prepared: Prepared | None = None
        if self.engine.prepares and _has_plain_create(model):
            prepared = self.statements.prepared_create(self.engine.peewee, model, fields)
        if prepared is None:
            row: M = await self._submit(self._writing_pool(), self._create, (model, fields), None, again=_again)
        else:
            row = await self._submit(self._writing_pool(), self._insert, (prepared,), prepared, again=_again)
        return row

    def _insert(self, prepared: Prepared) -> Any:
        return prepared.run(self.engine.peewee)

    def _create(self, model: type[M], fields: dict[str, Any]) -> M:
        if not _has_plain_create(model):
            return model.create(**fields)
        row: M = self.statements.create(self.engine.peewee, model, fields)
        return row

    async def bulk_insert(
        self,
        model: type[Model],
        rows: Rows,
        *,
        batch_size: int = 1000,
        concurrency: int = 2,
        on_progress: Progress | None = None,
    ) -> BulkResult:
        """Insert many rows, dicts or models, in constant memory. Each batch is a transaction; a bad row costs itself.

        Inside `transaction()` every batch is a savepoint of it, and they are written one after another.

        Args:
            model: Where they go; its defaults fill what a row has not.
            rows: Any iterable or async iterable; a plain one is taken in the event loop and should not block.
            batch_size: Rows of a batch.
            concurrency: Batches that are written at the same time, each on a connection of its own.
            on_progress: Called, awaited if it is async, with the number of rows dealt with so far: after each batch,
                when the source gives its next row.

        Raises:
            BulkInterrupted: Something ended it that is no row's fault: the server, the source, or `on_progress`.
        """
        from eggycore_db.bulk_plans import inserting

        writing = inserting(self.engine, model)
        return await self._load(writing, rows, on_progress, concurrency, batch_size)

    async def bulk_upsert(
        self,
        model: type[Model],
        rows: Rows,
        *,
        conflict: Fields = (),
        update: Fields | None = None,
        batch_size: int = 1000,
        concurrency: int = 1,
        on_progress: Progress | None = None,
    ) -> BulkResult:
        """Insert many rows, or update those that are there already. Otherwise like `bulk_insert`.

        Args:
            conflict: Fields with a unique index by which a row is there already, the primary key when empty. MySQL
                looks at every unique index instead.
            update: Fields that are updated then, all others that the row has when None, nothing when empty.
            concurrency: Above 1 it is not certain which of two rows with the same key wins; else the last.

        Raises:
            BulkRefused: A field is not the model's.
        """
        from eggycore_db.bulk_plans import upserting

        writing = upserting(self.engine, model, conflict, update)
        return await self._load(writing, rows, on_progress, concurrency, batch_size)

    async def bulk_update(
        self,
        model: type[Model],
        rows: Rows,
        *,
        fields: Fields | None = None,
        by: Fields = (),
        batch_size: int = 1000,
        concurrency: int = 1,
        on_progress: Progress | None = None,
    ) -> BulkResult:
        """Update many rows, each to values of its own. A row that meets none is an error. Otherwise like `bulk_upsert`.

        Args:
            fields: What is written, all that the row has when None.
            by: What it is found by, the primary key when empty.
        """
        from eggycore_db.bulk_plans import updating

        writing = updating(self.engine, model, fields, by)
        return await self._load(writing, rows, on_progress, concurrency, batch_size)

    async def _load(
        self, writing: Writing, rows: Rows, on_progress: Progress | None, concurrency: int, batch_size: int
    ) -> BulkResult:
        from eggycore_db.bulk import Load

        load = Load(self.open_transaction(), self._writing_pool(), writing, on_progress, concurrency)
        return await load.run(rows, batch_size)

    async def _submit(
        self,
        pool: Pool,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        prepared: Prepared | None,
        *,
        again: Callable[[Any], Callable[[], Any]] | None = None,
    ) -> Any:
        """Have work done in the transaction that is open, else in a pool.

        Args:
            pool: Where, when no transaction is open.
            function: The work.
            args: Its arguments.
            prepared: Does the same, and may be sent by the event loop.
            again: As in `Transaction.run`.
        """
        if (transaction := self.open_transaction()) is not None:
            return await transaction.run(function, args, again=again, prepared=prepared)
        return await pool.submit(function, args, prepared=prepared)


def _has_plain_create(model: type[Model]) -> bool:
    return model.create.__func__ in PLAIN_CREATES  # type: ignore[attr-defined]  # a class method has one


def _execute(database: peewee.Database, query: Any) -> Any:
    result = query.execute(database)
    if not isinstance(result, CursorWrapper):
        return result
    has_rows: bool = result.cursor.description is not None  # psycopg2 fails to fetch from what has none
    return list(result) if has_rows else []


def _again(made: Any) -> Callable[[], Any]:
    """Insert the row that was made before once more, with the same key and the same defaults."""
    model, data = type(made), dict(made.__data__)

    def insert() -> Any:
        copy = model(**data)
        copy.save(force_insert=True)
        return copy

    return insert
