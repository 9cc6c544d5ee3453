"""peewee's SchemaMigrator, imported without a driver that it has no use for: take it from here."""

from __future__ import annotations

from eggycore_db.drivers import load_migrate

load_migrate()

from playhouse.migrate import MySQLMigrator, SchemaMigrator  # type: ignore[import-untyped]  # noqa: E402

__all__ = ["MySQLMigrator", "SchemaMigrator"]
