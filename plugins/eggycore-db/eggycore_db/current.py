"""Which database is meant here: that of this worker thread, one set by hand, or that of the current runtime."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from eggycore_db.errors import NoDatabase

if TYPE_CHECKING:
    from eggycore_db.database import Database

__all__ = ["get_db", "here", "set_db"]


class _Here(threading.local):
    """What a worker thread works for; empty in every other thread."""

    database: Database | None = None
    writes: bool = False


here = _Here()

_set_by_hand: Database | None = None


def get_db(name: str = "") -> Database:
    """The database that is meant here, or the one that DATABASES calls `name`.

    Inside a function given to `Database.run` it is that database; else the one of `set_db`; else the default one of
    the current runtime. Usable from any thread.

    Raises:
        NoDatabase: There is none.
        UnknownDatabase: There is none of this name.
    """
    if name:
        return _named(name)
    if (database := here.database or _set_by_hand or _of_the_runtime()) is None:
        raise NoDatabase
    return database


def _named(name: str) -> Database:
    from eggycore import current
    from eggycore_db.databases import Databases

    return current().get(Databases)[name]


def set_db(database: Database | None) -> Database | None:
    """Make `database` what `get_db` returns in this process, or forget it with None. For scripts without a runtime.

    Returns:
        The one that was set before.
    """
    global _set_by_hand
    before, _set_by_hand = _set_by_hand, database
    return before


def _of_the_runtime() -> Database | None:
    from eggycore import current
    from eggycore.errors import EggycoreError
    from eggycore_db.database import Database

    try:
        return current().get(Database)
    except EggycoreError:  # no runtime here, or one that has no database open
        return None
