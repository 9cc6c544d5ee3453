"""SQL that gives two users of a database what they need and no more: one serves, one migrates."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError
from eggycore_db.targets import ServerTarget, SqliteTarget, Target

__all__ = ["NoUsers", "grants"]

ROWS = "SELECT, INSERT, UPDATE, DELETE"


@dataclass(eq=False)
class NoUsers(UsageError):
    """Grants were asked for of a database that has no users."""

    location: str


@diagnose.register
def _(error: NoUsers) -> Diagnosis:
    return Diagnosis(
        description=f"The database {error.location} has no users to grant anything to.",
        cause="It is an SQLite file: who may read and write the file and its folder may do everything.",
        action="Give the file to the user that the app runs as, with `chmod 600`.",
    )


def grants(target: Target, *, serve: str, migrate: str, schema: str = "public") -> str:
    """The SQL for a server's administrator to run in this database.

    Args:
        target: The database.
        serve: The user of the app, which reads and writes rows; on MySQL also as user@host.
        migrate: The user of `eggycore db migrate`, which makes and changes tables.
        schema: The schema that the tables are in; PostgreSQL only.

    Raises:
        NoUsers: The database is an SQLite file.
    """
    if isinstance(target, SqliteTarget):
        raise NoUsers(target.location)
    if target.kind == "postgresql":
        return _postgresql(target, serve, migrate, schema)
    return _mysql(target, serve, migrate)


def _postgresql(target: ServerTarget, serve: str, migrate: str, schema: str) -> str:
    database, place = _quoted(target.name, '"'), _quoted(schema, '"')
    server, migrator = _quoted(serve, '"'), _quoted(migrate, '"')
    made_by = f"ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA {place}"
    return f"""\
-- Run this in the database {target.name} as its owner or a superuser. If the users are not there yet:
--   CREATE ROLE {server} LOGIN PASSWORD '...';
--   CREATE ROLE {migrator} LOGIN PASSWORD '...';

-- Nobody else makes tables here (the default before PostgreSQL 15).
REVOKE CREATE ON SCHEMA {place} FROM PUBLIC;

-- {serve} serves: it reads and writes rows.
GRANT CONNECT ON DATABASE {database} TO {server};
GRANT USAGE ON SCHEMA {place} TO {server};
GRANT {ROWS} ON ALL TABLES IN SCHEMA {place} TO {server};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {place} TO {server};

-- {migrate} migrates: it makes tables, and owns those that it makes.
GRANT CONNECT ON DATABASE {database} TO {migrator};
GRANT USAGE, CREATE ON SCHEMA {place} TO {migrator};

-- What {migrate} makes from now on, {serve} may use.
{made_by} GRANT {ROWS} ON TABLES TO {server};
{made_by} GRANT USAGE, SELECT ON SEQUENCES TO {server};

-- Only its owner may change a table. For each that somebody else has made:
--   ALTER TABLE {place}."..." OWNER TO {migrator};
"""


def _mysql(target: ServerTarget, serve: str, migrate: str) -> str:
    name = _quoted(target.name.replace("\\", "\\\\").replace("_", r"\_").replace("%", r"\%"), "`")
    server, migrator = _mysql_user(serve), _mysql_user(migrate)
    return f"""\
-- Run this as root or another administrator. If the users are not there yet:
--   CREATE USER {server} IDENTIFIED BY '...';
--   CREATE USER {migrator} IDENTIFIED BY '...';

-- {serve} serves: it reads and writes rows.
GRANT {ROWS} ON {name}.* TO {server};

-- {migrate} migrates: it makes and changes tables too.
GRANT {ROWS}, CREATE, ALTER, DROP, INDEX, REFERENCES ON {name}.* TO {migrator};
"""


def _mysql_user(user: str) -> str:
    name, _, host = user.rpartition("@") if "@" in user else (user, "", "%")
    return f"{_quoted(name, chr(39))}@{_quoted(host, chr(39))}"


def _quoted(name: str, quote: str) -> str:
    return f"{quote}{name.replace(quote, quote * 2)}{quote}"
