"""eggycore-db: peewee from asyncio. Importing this package loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggycore_db.current import get_db, set_db
    from eggycore_db.database import Database
    from eggycore_db.errors import (
        DatabaseClosed,
        DatabaseUnusable,
        NoDatabase,
        OutsideWorker,
        TableNotMade,
        TableTaken,
        TransactionLeftOpen,
    )
    from eggycore_db.initializer import DatabaseInitializer, close, connect, default_config
    from eggycore_db.models import Model
    from eggycore_db.repository import Repository, initialize_all_tables, register_repository
    from eggycore_db.settings import DatabaseSettings

__version__ = "0.1.0"

_HOME = {
    "Database": "database",
    "DatabaseClosed": "errors",
    "DatabaseInitializer": "initializer",
    "DatabaseSettings": "settings",
    "DatabaseUnusable": "errors",
    "Model": "models",
    "NoDatabase": "errors",
    "OutsideWorker": "errors",
    "Repository": "repository",
    "TableNotMade": "errors",
    "TableTaken": "errors",
    "TransactionLeftOpen": "errors",
    "close": "initializer",
    "connect": "initializer",
    "default_config": "initializer",
    "get_db": "current",
    "initialize_all_tables": "repository",
    "register_repository": "repository",
    "set_db": "current",
}

__all__ = [
    "Database",
    "DatabaseClosed",
    "DatabaseInitializer",
    "DatabaseSettings",
    "DatabaseUnusable",
    "Model",
    "NoDatabase",
    "OutsideWorker",
    "Repository",
    "TableNotMade",
    "TableTaken",
    "TransactionLeftOpen",
    "close",
    "connect",
    "default_config",
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
