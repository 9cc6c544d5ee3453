"""One example of every error of migrations and of `eggycore db`, for docs/errors.md."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from eggycore.errors import EggycoreError
from eggycore_db.grants import NoUsers
from eggycore_db.migrations.commands import NoSuchDatabase
from eggycore_db.migrations.errors import (
    MigrationEdited,
    MigrationFailed,
    MigrationNotReversible,
    MigrationsOutOfOrder,
    MigrationsPending,
    MigrationsShareNumber,
    MigrationUnfinished,
    MigrationUnknown,
    MigrationUnreadable,
    MigrationUnusable,
    PendingFirst,
    ResumeImpossible,
)

__all__ = ["MIGRATIONS"]

FOLDER = Path("/srv/forms/migrations")
AT = datetime(2026, 1, 2, 3, 4, 5)
LOG = 'CREATE TABLE "note" ("id" INTEGER)'
NEXT = 'CREATE INDEX "note_id" ON "note" ("id")'

MIGRATIONS: tuple[EggycoreError, ...] = (
    MigrationsPending(("0003_notes",), "", "postgresql://db.example:5432/forms"),
    MigrationEdited(FOLDER / "0001_forms.py", AT, "5f70bf18a086" + "0" * 52, "d2a84f4b8b65" + "0" * 52),
    MigrationsOutOfOrder(("0002_polls",), "0003_notes"),
    MigrationFailed(
        FOLDER / "0003_notes.py",
        "up",
        "OperationalError: (1061, \"Duplicate key name 'note_id'\")",
        ("0002_polls",),
        NEXT,
        2,
        stays=1,
        log=LOG,
    ),
    MigrationUnfinished("0003_notes", "up", AT, 1, LOG, NEXT),
    ResumeImpossible("0003_notes", 1, LOG),
    MigrationNotReversible("0003_notes", FOLDER, missing=False),
    MigrationUnknown("0003_note", FOLDER, ("0001_forms", "0002_polls", "0003_notes")),
    MigrationsShareNumber(FOLDER, "0003_notes", "0003_votes"),
    MigrationUnusable(FOLDER / "0003_notes.py", "it defines no function up(migrator, db)"),
    MigrationUnreadable(FOLDER / "0003_notes.py", "permission denied"),
    PendingFirst(("0003_notes",)),
    NoSuchDatabase("order", ("orders", "users")),
    NoUsers("forms.db"),
)
