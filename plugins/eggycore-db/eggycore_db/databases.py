"""`Databases`: every database of a runtime by name, and which variables each has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eggycore.diagnostics import Diagnosis, diagnose, did_you_mean
from eggycore.errors import EggycoreError
from eggycore_db.places import has_parts
from eggycore_db.settings import DatabaseSettings

if TYPE_CHECKING:
    from eggycore.config import Configuration
    from eggycore_db.database import Database

__all__ = ["DEFAULT", "Databases", "UnknownDatabase", "migrations_of", "settings_by_name"]

DEFAULT = "default"


@dataclass(eq=False)
class UnknownDatabase(EggycoreError):
    """A database was asked for that DATABASES does not name."""

    name: str
    known: tuple[str, ...] = ()


@diagnose.register
def _(error: UnknownDatabase) -> Diagnosis:
    return Diagnosis(
        description=f"There is no database {error.name!r}.{did_you_mean(error.name, error.known)}",
        cause=f"Open now: {', '.join(error.known) or 'none'}.",
        action=f"Name it in DATABASES and set DATABASE_{error.name.upper()}_DSN, or use one of these.",
    )


class Databases(Mapping[str, "Database"]):
    """The open databases of a runtime, by name.

    The first one is the default: that of DATABASE_DSN, or the first of DATABASES where DATABASE_DSN is not set. It is
    found under the name "default" too.
    """

    def __init__(self) -> None:
        self._open: dict[str, Database] = {}

    def __getitem__(self, name: str) -> Database:
        """The open database of this name.

        Raises:
            UnknownDatabase: There is none.
        """
        if name == DEFAULT and self._open:
            return next(iter(self._open.values()))
        try:
            return self._open[name]
        except KeyError:
            raise UnknownDatabase(name, tuple(self._open)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, database: Database) -> None:
        """It is open."""
        self._open[database.name] = database

    def remove(self, database: Database) -> None:
        """It is closed."""
        self._open.pop(database.name, None)


def migrations_of(config: Configuration, settings: DatabaseSettings) -> Literal["auto", "check", "off"]:
    """What happens with migrations at start: the default goes by ENVIRONMENT, wherever that was set."""
    from eggycore.config import Config

    key = next(variable.key for variable in settings.__variables__ if variable.attribute == "migrations")
    if config.values[key].origin != "default":
        return settings.migrations
    return "auto" if config[Config].environment == "development" else "check"


def settings_by_name(config: Configuration) -> dict[str, DatabaseSettings]:
    """The settings of each database that the configuration names, the default one first."""
    default, named = config[DatabaseSettings], config.family(DatabaseSettings)
    if named and default.dsn is None and not has_parts(default):
        return dict(named)
    return {DEFAULT: default, **named}
