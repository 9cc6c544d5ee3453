"""The settings of the db plugin."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from eggycore.config import Duration, Facts, Other, Secret, Settings, env
from eggycore.errors import ConfigProblem
from eggycore_db.places import replica_targets, target_of
from eggycore_db.settings_checks import database_problems
from eggycore_db.targets import Target

__all__ = ["DatabaseNames", "DatabaseSettings"]

QUERY_MARGIN = 5.0
"""Seconds that the server has to give up a statement by itself before its connection is cut."""


def _migrations(facts: Facts) -> str:
    return "auto" if facts.environ.get("ENVIRONMENT", "development") in ("", "development") else "check"


def _allow_embedded(facts: Facts) -> bool | None:
    """None refuses what is named to be in a file, and not the default file: nobody opens it where DATABASES is set."""
    if not facts.kubernetes:
        return True
    return None if facts.environ.get("DATABASES") else False


class DatabaseNames(Settings):
    """Which databases there are beside the one without a name."""

    names: tuple[str, ...] = env(
        "DATABASES",
        default=(),
        doc="Names of more databases, as in orders,users; each has variables of its own, such as DATABASE_ORDERS_DSN.",
    )


class DatabaseSettings(Settings, family="DATABASES", prefix="DATABASE_"):
    """Where the database is, how many connections it gets, and how long anything may take."""

    dsn: Secret[str] | None = env(
        "DATABASE_DSN",
        own=True,
        default=None,
        default_doc="sqlite:///eggycore.db; sqlite:///<name>.db for one of DATABASES",
        reload=True,
        costly=True,
        doc="The database: sqlite:///file.db, postgresql://user:password@host/name, mysql://user:password@host/name, "
        "user:password@tcp(host:3306)/name or host=... dbname=... of libpq. A reload changes user and password only.",
    )
    host: str | None = env(
        "DATABASE_HOST",
        also=("DB_HOST",),
        own=True,
        default=None,
        doc="Host of the server, or the folder of PostgreSQL's socket; instead of DATABASE_DSN.",
    )
    port: int | None = env(
        "DATABASE_PORT",
        also=("DB_PORT",),
        own=True,
        default=None,
        default_doc="5432; 3306 for mysql",
        ge=1,
        le=65535,
        doc="Port of DATABASE_HOST.",
    )
    name: str | None = env(
        "DATABASE_NAME", also=("DB_NAME",), own=True, default=None, doc="Name of the database on DATABASE_HOST."
    )
    user: str | None = env(
        "DATABASE_USER",
        also=("DB_USER",),
        own=True,
        default=None,
        reload=True,
        costly=True,
        doc="Who connects to DATABASE_HOST.",
    )
    password: Secret[str] | None = env(
        "DATABASE_PASSWORD",
        also=("DB_PASSWORD",),
        own=True,
        default=None,
        reload=True,
        costly=True,
        doc="Password of DATABASE_USER, as it is, without encoding.",
    )
    scheme: Literal["postgresql", "mysql"] = env(
        "DATABASE_SCHEME",
        own=True,
        default="postgresql",
        doc="What DATABASE_HOST speaks; mysql is for MariaDB and TiDB too.",
    )
    tls: Literal["disable", "require", "verify-ca", "verify-full", "true", "false"] | None = env(
        "DATABASE_TLS",
        also=("DB_SSL",),
        default=None,
        default_doc="as the DSN says",
        doc="require encrypts, verify-ca also checks who signed the server's certificate, verify-full also that it "
        "names the host; true is require and false is disable.",
    )
    tls_ca: Path | None = env(
        "DATABASE_TLS_CA",
        default=None,
        default_doc="the system's",
        contents=True,
        costly=True,
        doc="File with the certificates of those who may sign the server's.",
    )
    tls_certificate: Path | None = env(
        "DATABASE_TLS_CERTIFICATE",
        default=None,
        contents=True,
        costly=True,
        doc="File with the certificate that this client shows.",
    )
    tls_key: Path | None = env(
        "DATABASE_TLS_KEY",
        default=None,
        contents=True,
        costly=True,
        doc="File with the private key of DATABASE_TLS_CERTIFICATE.",
    )
    replica_dsns: Secret[str] | None = env(
        "DATABASE_REPLICA_DSNS",
        own=True,
        default=None,
        reload=True,
        costly=True,
        doc="DSNs of servers that may be read and lag behind, one a line; between URLs a comma or space is enough. "
        "A reload changes user and password only.",
    )
    max_open_conns: int = env(
        "DATABASE_MAX_OPEN_CONNS",
        also=(
            "DB_POOL_MAX",
            "DB_POOL_SIZE",
        ),
        default=100,
        ge=1,
        reload=True,
        costly=True,
        doc="The most connections open at once; they are made on demand.",
    )
    max_idle_conns: int = env(
        "DATABASE_MAX_IDLE_CONNS",
        default=10,
        ge=0,
        reload=True,
        costly=True,
        doc="The most connections kept open while nothing uses them.",
    )
    min_conns: int = env(
        "DATABASE_MIN_CONNS",
        also=("DB_POOL_MIN",),
        default=0,
        ge=0,
        reload=True,
        costly=True,
        doc="The least connections kept open, once they were made.",
    )
    conn_max_lifetime: Duration = env(
        "DATABASE_CONN_MAX_LIFETIME",
        default=3600.0,
        reload=True,
        costly=True,
        doc="Age at which a connection is replaced; 0s is never.",
    )
    conn_max_idle_time: Duration = env(
        "DATABASE_CONN_MAX_IDLE_TIME",
        also=(
            Other("DB_POOL_IDLE_TIMEOUT", unit="ms"),
            Other("DB_IDLE_TIMEOUT", unit="ms"),
        ),
        default=600.0,
        reload=True,
        doc="Time without use after which a connection is closed; 0s is never.",
    )
    idle_check_interval: Duration = env(
        "DATABASE_IDLE_CHECK_INTERVAL",
        default=30.0,
        ge=0.1,
        reload=True,
        doc="Time between looks at connections without use.",
    )
    connect_timeout: Duration = env(
        "DATABASE_CONNECT_TIMEOUT",
        also=(
            Other("DB_CONNECTION_TIMEOUT", unit="ms"),
            Other("DB_CONNECT_TIMEOUT", unit="ms"),
        ),
        default=5.0,
        ge=0.1,
        reload=True,
        doc="How long making a connection may take.",
    )
    acquire_timeout: Duration = env(
        "DATABASE_ACQUIRE_TIMEOUT",
        also=(
            Other("DB_POOL_ACQUIRE_TIMEOUT", unit="ms"),
            Other("DB_ACQUIRE_TIMEOUT", unit="ms"),
            Other("DB_POOL_TIMEOUT", unit="ms"),
        ),
        default=10.0,
        ge=0.001,
        reload=True,
        doc="How long work waits for a connection.",
    )
    statement_timeout: Duration = env(
        "DATABASE_STATEMENT_TIMEOUT",
        also=(Other("DB_STATEMENT_TIMEOUT", unit="ms"),),
        default=30.0,
        reload=True,
        costly=True,
        doc="How long one statement may take, watched by the server; 0s is no limit. A reload renews the connections.",
    )
    query_timeout: Duration | None = env(
        "DATABASE_QUERY_TIMEOUT",
        also=(Other("DB_QUERY_TIMEOUT", unit="ms"),),
        default=None,
        default_doc="5s more than DATABASE_STATEMENT_TIMEOUT",
        reload=True,
        doc="How long one query may take, watched here, for when the server does not answer any more; 0s is no limit.",
    )
    application_name: str | None = env(
        "DATABASE_APPLICATION_NAME",
        default=None,
        default_doc="SERVICE_NAME",
        doc="What the server's list of connections shows.",
    )
    log_level: Literal["off", "error", "warn", "info"] = env(
        "DATABASE_LOG_LEVEL",
        default="warn",
        reload=True,
        doc="Which queries are logged: error those that failed, warn also slow ones, info all; never their parameters.",
    )
    slow_query: Duration = env(
        "DATABASE_SLOW_QUERY", default=1.0, reload=True, doc="Time from which on a query is slow; 0s is never."
    )
    migrations: Literal["auto", "check", "off"] = env(
        "DATABASE_MIGRATIONS",
        default=_migrations,
        default_doc="auto when ENVIRONMENT is development, else check",
        doc="At start: auto applies pending migrations, check waits until somebody else has, off does not look.",
    )
    migrations_folder: Path | None = env(
        "DATABASE_MIGRATIONS_FOLDER",
        own=True,
        default=None,
        default_doc="migrations; migrations/<name> for one of DATABASES",
        doc="Where migrations are.",
    )
    auto_tables: bool = env(
        "DATABASE_AUTO_TABLES",
        default=True,
        doc="Make the missing tables, columns and indexes of repositories at start; nothing is ever dropped.",
    )
    allow_embedded: bool | None = env(
        "DATABASE_ALLOW_EMBEDDED",
        default=_allow_embedded,
        default_doc="true; false in Kubernetes",
        doc="Whether the database may be a file of this process (SQLite), which replicas do not share.",
    )

    @property
    def migrations_path(self) -> Path:
        """The folder of the migrations, relative to the app's folder or absolute."""
        return self.migrations_folder or Path("migrations", self.member)

    @property
    def query_limit(self) -> float:
        """Seconds that one query may take, watched here; 0 is no limit."""
        if self.query_timeout is not None:
            return self.query_timeout
        return self.statement_timeout + QUERY_MARGIN if self.statement_timeout else 0.0

    def target(self) -> Target:
        """Where the database is: by its DSN, else by its parts, else in a file; the TLS settings win over the DSN.

        Raises:
            DsnRefused: The DSN or a part cannot be used; `problems` says so too.
        """
        return target_of(self)

    def replica_targets(self) -> tuple[Target, ...]:
        """Where the replicas are, in order; the TLS settings win over their DSNs.

        Raises:
            DsnRefused: One of their DSNs cannot be used; `problems` says so too.
        """
        return replica_targets(self)

    def problems(self) -> Iterable[ConfigProblem]:
        """What is wrong across the settings."""
        return database_problems(self)
