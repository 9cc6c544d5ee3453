"""Migration files: `NNNN_name.py` in a folder, in the format of playhouse.migrations."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from eggycore_db.migrations.errors import MigrationsShareNumber, MigrationUnreadable, MigrationUnusable

__all__ = ["MigrationFile", "Script", "create_file", "read_folder"]

TEMPLATE = '''"""{title}"""

from peewee import *


def up(migrator, db):
    # migrator.migrate(
    #     migrator.add_column("table", "column", TextField(default="")),
    # )
    pass


# def down(migrator, db):
#     migrator.migrate(migrator.drop_column("table", "column"))
'''

Change = Callable[[Any, Any], object]
"""up and down: functions of a playhouse SchemaMigrator and a peewee Database."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a migration file defines.

    Args:
        up: Makes the change.
        down: Takes it back; None when the file does not say how.
        atomic: Whether it runs in a transaction where the database can roll back changes of tables.
    """

    up: Change
    down: Change | None
    atomic: bool


@dataclass(frozen=True, kw_only=True)
class MigrationFile:
    """One migration, as its file is now.

    Args:
        path: The file.
        text: What is in it, with line endings normalised.
    """

    path: Path
    text: str

    @property
    def name(self) -> str:
        """The file's name without `.py`; what the history knows it by."""
        return self.path.stem

    @property
    def number(self) -> int:
        """The number at the start of its name."""
        return number_of(self.name)

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def load(self) -> Script:
        """Run the file's text, the very one that the checksum is of.

        Raises:
            MigrationUnusable: It does not run, or defines no `up`.
        """
        module = ModuleType(self.name)
        module.__file__ = str(self.path)
        try:
            exec(compile(self.text, str(self.path), "exec"), module.__dict__)  # noqa: S102  # the app's own code
        except Exception as error:
            from eggycore.diagnostics import raised_at, summary

            raise MigrationUnusable(self.path, summary(error), raised_at(error)) from error
        up, down = getattr(module, "up", None), getattr(module, "down", None)
        if not callable(up):
            raise MigrationUnusable(self.path, "it defines no function up(migrator, db)")
        return Script(up=up, down=down if callable(down) else None, atomic=bool(getattr(module, "atomic", True)))


def read_folder(folder: Path) -> tuple[MigrationFile, ...]:
    """The migrations in a folder, by number; none when there is no folder.

    Raises:
        MigrationsShareNumber: Two have the same number, so that their order is not known.
        MigrationUnreadable: A file cannot be read as UTF-8 text.
    """
    files = sorted((_read(path) for path in folder.glob("[0-9]*.py")), key=lambda file: (file.number, file.name))
    for one, other in pairwise(files):
        if one.number == other.number:
            raise MigrationsShareNumber(folder, one.name, other.name)
    return tuple(files)


def create_file(folder: Path, title: str, body: str | None = None) -> Path:
    """Write a new migration with the next number; makes the folder when it is missing.

    Args:
        folder: Where.
        title: What it does, in a few words; becomes part of the name.
        body: Its text; a template when None.

    Returns:
        The new file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = max((file.number for file in read_folder(folder)), default=0) + 1
    slug = re.sub(r"\W+", "_", title.strip()).strip("_").lower() or "migration"
    path = folder / f"{number:04d}_{slug}.py"
    with path.open("x", encoding="utf-8") as file:
        file.write(body if body is not None else TEMPLATE.format(title=title.strip().replace('"', "'") or slug))
    return path


def number_of(name: str) -> int:
    """The number at the start of a migration's name; -1 when it has none."""
    digits = re.match(r"\d+", name)
    return int(digits.group()) if digits else -1


def _read(path: Path) -> MigrationFile:
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise MigrationUnreadable(path, str(error)) from error
    return MigrationFile(path=path, text=text.replace("\r\n", "\n").replace("\r", "\n"))
