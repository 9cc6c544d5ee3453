"""eggycore-db: peewee from asyncio. Importing this package loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore_db.bulk import BulkResult
    from eggycore_db.bulk_errors import BulkInterrupted, BulkRefused
    from eggycore_db.bulk_faults import RowError
    from eggycore_db.current import get_db, set_db
    from eggycore_db.database import Database
    from eggycore_db.databases import Databases, UnknownDatabase
    from eggycore_db.dsn_refused import DsnRefused
    from eggycore_db.errors import (
        DatabaseClosed,
        DatabaseNotUp,
        DatabaseUnavailable,
        DatabaseUnusable,
        NoDatabase,
        OutsideWorker,
        PoolExhausted,
        QueryTimeout,
        TableNotMade,
        TableTaken,
    )
    from eggycore_db.fences import Fenced, FenceOutsideTransaction, fence
    from eggycore_db.initializer import DatabaseInitializer, TiDBInitializer, close, connect, default_config
    from eggycore_db.migrations.errors import MigrationsPending
    from eggycore_db.models import Model
    from eggycore_db.pool import PoolLimits
    from eggycore_db.repository import Repository, initialize_all_tables, register_repository
    from eggycore_db.server import ServerLimits
    from eggycore_db.settings import DatabaseNames, DatabaseSettings
    from eggycore_db.transaction_errors import (
        TransactionAborted,
        TransactionConflict,
        TransactionLeftOpen,
        TransactionOfAnotherTask,
    )

__version__ = "0.1.0"

_HOME = {
    "BulkInterrupted": "bulk_errors",
    "BulkRefused": "bulk_errors",
    "BulkResult": "bulk",
    "Database": "database",
    "DatabaseClosed": "errors",
    "DatabaseInitializer": "initializer",
    "DatabaseNames": "settings",
    "DatabaseNotUp": "errors",
    "DatabaseSettings": "settings",
    "DatabaseUnavailable": "errors",
    "DatabaseUnusable": "errors",
    "Databases": "databases",
    "DsnRefused": "dsn_refused",
    "FenceOutsideTransaction": "fences",
    "Fenced": "fences",
    "MigrationsPending": "migrations.errors",
    "Model": "models",
    "NoDatabase": "errors",
    "OutsideWorker": "errors",
    "PoolExhausted": "errors",
    "PoolLimits": "pool",
    "QueryTimeout": "errors",
    "Repository": "repository",
    "RowError": "bulk_faults",
    "ServerLimits": "server",
    "TableNotMade": "errors",
    "TableTaken": "errors",
    "TiDBInitializer": "initializer",
    "TransactionAborted": "transaction_errors",
    "TransactionConflict": "transaction_errors",
    "TransactionLeftOpen": "transaction_errors",
    "TransactionOfAnotherTask": "transaction_errors",
    "UnknownDatabase": "databases",
    "close": "initializer",
    "connect": "initializer",
    "default_config": "initializer",
    "fence": "fences",
    "get_db": "current",
    "initialize_all_tables": "repository",
    "register_repository": "repository",
    "set_db": "current",
}

__all__ = [
    "BulkInterrupted",
    "BulkRefused",
    "BulkResult",
    "Database",
    "DatabaseClosed",
    "DatabaseInitializer",
    "DatabaseNames",
    "DatabaseNotUp",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "DatabaseUnusable",
    "Databases",
    "DsnRefused",
    "FenceOutsideTransaction",
    "Fenced",
    "MigrationsPending",
    "Model",
    "NoDatabase",
    "OutsideWorker",
    "PoolExhausted",
    "PoolLimits",
    "QueryTimeout",
    "Repository",
    "RowError",
    "ServerLimits",
    "TableNotMade",
    "TableTaken",
    "TiDBInitializer",
    "TransactionAborted",
    "TransactionConflict",
    "TransactionLeftOpen",
    "TransactionOfAnotherTask",
    "UnknownDatabase",
    "close",
    "connect",
    "default_config",
    "fence",
    "get_db",
    "initialize_all_tables",
    "register_repository",
    "set_db",
]


def __getattr__(name: str) -> object:
    if (home := _HOME.get(name)) is None:
        raise AttributeError(f"module 'eggycore_db' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"eggycore_db.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
