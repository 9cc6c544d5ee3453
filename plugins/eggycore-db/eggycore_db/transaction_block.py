"""What `async with db.transaction()` enters: a transaction, or a savepoint inside one."""

from __future__ import annotations

import os
import sys
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import peewee

from eggycore.errors import EggycoreError
from eggycore_db.transaction import Isolation, Transaction

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["Savepoint", "TransactionBlock", "called_at"]

_OWN = f"{os.path.dirname(__file__)}{os.sep}"  # noqa: PTH120  # compared with the names of files of frames


class Savepoint:
    """A transaction inside a transaction: what is done in it can be rolled back alone."""

    def __init__(self, outer: Transaction) -> None:
        self._outer = outer
        self._block: Any = None
        self._mark = 0

    async def open(self) -> None:
        """Set it."""
        self._mark = self._outer.mark()
        await self._outer.run(self._enter)

    async def close(self, error: BaseException | None) -> None:
        """Release it, or roll back to it when there is an error."""
        if error is None:
            await self._outer.run(self._leave)
            return
        try:
            await self._outer.run(self._undo)
        except (EggycoreError, peewee.PeeweeException):  # all of the transaction is lost, and `error` says why
            self._outer.doom()
        else:
            self._outer.forget_since(self._mark)

    def _enter(self) -> None:
        from eggycore_db.current import get_db

        self._block = get_db().peewee.savepoint()
        self._block.__enter__()

    def _leave(self) -> None:
        self._block.__exit__(None, None, None)

    def _undo(self) -> None:
        self._block.rollback(False)


class TransactionBlock:
    """What `async with db.transaction()` enters: a transaction, or a savepoint inside the one that is open."""

    def __init__(self, database: Database, retries: int, isolation: Isolation | None) -> None:
        self._database = database
        self._retries = retries
        self._isolation = isolation
        self._opened_at = called_at()
        self._inside: Transaction | Savepoint | None = None
        self._before: Transaction | None = None

    async def __aenter__(self) -> None:
        self._before = self._database.open_transaction()
        if self._before is not None:
            self._before.check_task()
            self._inside = Savepoint(self._before)
            await self._inside.open()
            return
        transaction = self._database.new_transaction(self._retries, self._isolation, self._opened_at)
        transaction.open()
        self._inside = transaction
        self._database.enter_transaction(transaction)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._inside is not None
        if isinstance(self._inside, Transaction):
            self._database.enter_transaction(None)
        await self._inside.close(error)


def called_at() -> str:
    """File and line of the innermost caller outside this plugin."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown place"
