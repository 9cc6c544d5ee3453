"""The drivers of the servers, imported only once a database of theirs is opened.

peewee imports every driver that is installed, which takes longer than peewee itself; an app on SQLite needs none.
So peewee is imported here first, with the drivers out of sight, and is given the one that is needed later.
"""

from __future__ import annotations

import sys

_DRIVERS = ("MySQLdb", "psycopg", "psycopg2", "psycopg2cffi", "pymysql", "pysqlite3")

__all__ = ["load_mysql", "load_postgresql"]


def _import_peewee() -> None:
    """Import peewee without its drivers, unless somebody has imported it, or them, before."""
    if "peewee" in sys.modules:
        return
    hidden = [name for name in _DRIVERS if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # what makes an import fail, says the import system
    try:
        import peewee  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


_import_peewee()


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
