"""The drivers of the servers, imported only once a database of theirs is opened.

peewee imports every driver that is installed, which takes longer than peewee itself; an app on SQLite needs none.
So peewee is imported here first, with the drivers out of sight, and is given the one that is needed later. So is
playhouse.migrate, without CockroachDB, for which it would import psycopg2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_DRIVERS = ("MySQLdb", "psycopg", "psycopg2", "psycopg2cffi", "pymysql", "pysqlite3")
_COCKROACH = ("playhouse.cockroachdb",)

__all__ = ["load_migrate", "load_mysql", "load_postgresql"]


@contextmanager
def _out_of_sight(names: Sequence[str]) -> Iterator[None]:
    """Importing these modules fails, unless somebody has imported them before."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # what makes an import fail, says the import system
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _import_peewee() -> None:
    """Import peewee without its drivers, unless somebody has imported it, or them, before."""
    if "peewee" not in sys.modules:
        with _out_of_sight(_DRIVERS):
            import peewee  # noqa: F401  # it is to be in sys.modules


_import_peewee()


def load_migrate() -> None:
    """Import playhouse.migrate, which does without CockroachDB as it does where that cannot be imported."""
    with _out_of_sight(_COCKROACH):
        import playhouse.migrate  # type: ignore[import-untyped]  # noqa: F401


def load_postgresql() -> None:
    """Import psycopg2, and give it to peewee if peewee was imported without it."""
    import peewee
    import psycopg2
    from psycopg2 import extensions, extras

    module = vars(peewee)
    if module["psycopg2"] is not None:
        return
    extras.register_uuid()  # type: ignore[no-untyped-call]  # the stubs lack its types
    module.update(psycopg2=psycopg2, pg_extensions=extensions, pg_register_uuid=extras.register_uuid)
    module["Json_pg2"] = extras.Json
    adapter = peewee.Psycopg2Adapter
    adapter.txn_idle = extensions.TRANSACTION_STATUS_IDLE
    adapter.txn_inerror = extensions.TRANSACTION_STATUS_INERROR
    adapter.txn_unknown = extensions.TRANSACTION_STATUS_UNKNOWN


def load_mysql() -> None:
    """Import PyMySQL, and give it to peewee if peewee was imported without it."""
    import peewee
    import pymysql

    if vars(peewee)["mysql"] is None:
        vars(peewee)["mysql"] = pymysql
