"""The settings of the db plugin."""

from __future__ import annotations

from collections.abc import Iterable

from eggycore.config import Secret, Settings, env
from eggycore.errors import ConfigProblem
from eggycore_db.dsn import DsnRefused, parse_dsn

__all__ = ["DatabaseSettings"]


class DatabaseSettings(Settings):
    """Where the database is and how many connections it gets."""

    dsn: Secret[str] = env(
        "DATABASE_DSN",
        default="sqlite:///eggycore.db",
        default_doc="sqlite:///eggycore.db",
        doc="The database: sqlite:///file.db (in the working folder), sqlite:////absolute/file.db or sqlite:///:memory:.",
    )
    max_open_conns: int = env(
        "DATABASE_MAX_OPEN_CONNS",
        default=100,
        ge=1,
        doc="The most connections open at once; they are made on demand.",
    )
    max_idle_conns: int = env(
        "DATABASE_MAX_IDLE_CONNS",
        default=10,
        ge=0,
        doc="The most connections kept open while nothing uses them.",
    )
    allow_embedded: bool = env(
        "DATABASE_ALLOW_EMBEDDED",
        default=lambda facts: not facts.kubernetes,
        default_doc="true; false in Kubernetes",
        doc="Whether the database may be a file of this process (SQLite), which replicas do not share.",
    )

    def problems(self) -> Iterable[ConfigProblem]:
        """What is wrong across the settings."""
        try:
            parse_dsn(self.dsn.reveal())
        except DsnRefused as refused:
            yield ConfigProblem(key="DATABASE_DSN", reason=f"it {refused.reason}", action=refused.action)
            return
        if not self.allow_embedded:
            yield ConfigProblem(
                key="DATABASE_DSN",
                reason="an SQLite file, which every replica would have for itself",
                action="Set DATABASE_ALLOW_EMBEDDED=true if one replica with a volume of its own is what you want.",
            )
