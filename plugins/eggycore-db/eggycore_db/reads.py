"""The short forms that read, whatever they read from: a database, or its replicas."""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Any, ParamSpec, TypeVar, overload

import eggycore_db.drivers  # noqa: F401  # before peewee is imported

import peewee  # isort: skip
from peewee import DoesNotExist, Model, ModelSelect, RawQuery, SelectBase  # isort: skip

from eggycore_db.statements import Statements

__all__ = ["Reads"]

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Model)


class Reads(ABC):
    """What can be read from."""

    statements: Statements

    @abstractmethod
    async def read(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function that only reads."""

    @abstractmethod
    async def _query(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function of a peewee database and these arguments where reading is possible."""

    async def _by_key(self, model: type[Model], key: object) -> Any:
        return await self._query(self.statements.get, model, key)

    @abstractmethod
    def iterate(self, query: Any) -> AsyncIterator[Any]:
        """Every row, one after another."""

    @overload
    async def get(self, query: ModelSelect[M]) -> M: ...
    @overload
    async def get(self, query: type[M], key: object) -> M: ...
    @overload
    async def get(self, query: SelectBase | RawQuery) -> Any: ...
    async def get(self, query: Any, key: object = None) -> Any:
        """The first row of a query, or the row of a model with this key: `get(Form, 7)`, whose SQL is built once.

        Raises:
            DoesNotExist: There is none; it is `Form.DoesNotExist` for the model Form and its queries.
        """
        if isinstance(query, type):
            return await self._by_key(query, key)
        return await self._query(_get, query.clone())

    @overload
    async def first(self, query: ModelSelect[M]) -> M | None: ...
    @overload
    async def first(self, query: SelectBase | RawQuery) -> Any: ...
    async def first(self, query: Any) -> Any:
        """The first row, or None."""
        return await self._query(_first, query.clone())

    @overload
    async def list(self, query: ModelSelect[M]) -> builtins.list[M]: ...
    @overload
    async def list(self, query: SelectBase | RawQuery) -> builtins.list[Any]: ...
    async def list(self, query: Any) -> Any:
        """Every row."""
        return await self._query(_list, query.clone())

    async def scalar(self, query: SelectBase) -> Any:
        """The first column of the first row, or None."""
        return await self._query(_scalar, query.clone())

    async def exists(self, query: SelectBase) -> bool:
        """Whether there is a row."""
        return await self._query(_exists, query.clone())


def _get(database: peewee.Database, query: Any) -> Any:
    if isinstance(query, ModelSelect):
        return query.get(database)
    if (row := _first(database, query)) is None:
        raise DoesNotExist("the query has no row")
    return row


def _first(database: peewee.Database, query: Any) -> Any:
    if isinstance(query, SelectBase):
        return query.first(database)
    return next(iter(query.execute(database)), None)


def _list(database: peewee.Database, query: Any) -> list[Any]:
    return list(query.execute(database))


def _scalar(database: peewee.Database, query: Any) -> Any:
    return query.scalar(database)


def _exists(database: peewee.Database, query: Any) -> bool:
    return bool(query.exists(database))
