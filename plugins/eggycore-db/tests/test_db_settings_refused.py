"""DATABASE_*: what is refused before anything opens, and how that is told."""

from __future__ import annotations

import pytest

from eggycore.config import Configuration, Declared, Sources, load, read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.types import Origin
from eggycore_db import DatabaseSettings
from eggycore_db.settings import DatabaseNames

PARTS = {"DATABASE_HOST": "db", "DATABASE_NAME": "forms", "DATABASE_USER": "me"}
SERVER = {"DATABASE_DSN": "postgresql://me:hunter2@db/forms"}
OWNER = Origin("db", kind="plugin", dist="eggycore-db 0.1.0")
SET = "It was set in the environment, declared by app eggycore_db.settings"


def settings(environ: dict[str, str]) -> DatabaseSettings:
    return read_from_env(DatabaseSettings, environ)


def report(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        settings(environ)
    return render(diagnose(refused.value))


def problems(environ: dict[str, str]) -> list[str]:
    """Of each problem, what is wrong and what to do, as shown."""
    with pytest.raises(ConfigError) as refused:
        settings(environ)
    text = render(diagnose(refused.value))
    assert "hunter2" not in text
    return [f"{part.description} {part.action}" for part in diagnose(refused.value).parts]


def family(environ: dict[str, str]) -> Configuration:
    return load([Declared(DatabaseNames, OWNER), Declared(DatabaseSettings, OWNER)], Sources(environ, None))


def test_a_dsn_that_does_not_parse_is_reported_without_the_password() -> None:
    assert report({"DATABASE_DSN": "postgresql://me:hunter2@db"}) == (
        "The configuration has 1 problem.\n\n"
        "1. DATABASE_DSN: it names no database; a server has many databases, and none is the default.\n"
        f"     cause:  {SET}.\n"
        "     action: Add its name, as in postgresql://user@host/orders or user@tcp(host:3306)/orders."
    )


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {**SERVER, **PARTS},
            [
                "DATABASE_DSN: set, and so are DATABASE_HOST, DATABASE_NAME and DATABASE_USER. "
                "Leave out DATABASE_DSN, or the others: where the database is, is said once."
            ],
        ),
        (
            {**SERVER, "DATABASE_PASSWORD": "hunter2"},
            [
                "DATABASE_DSN: set, and so is DATABASE_PASSWORD. "
                "Leave out DATABASE_DSN, or the others: where the database is, is said once."
            ],
        ),
        (
            {"DATABASE_HOST": "db"},
            [
                "DATABASE_NAME: missing, and DATABASE_HOST is set. "
                "Set DATABASE_NAME (or DB_NAME), or use DATABASE_DSN alone.",
                "DATABASE_USER: missing, and DATABASE_HOST is set. "
                "Set DATABASE_USER (or DB_USER), or use DATABASE_DSN alone.",
            ],
        ),
        (
            {"DATABASE_USER": "me", "DATABASE_PASSWORD": "hunter2", "DATABASE_NAME": "forms"},
            [
                "DATABASE_HOST: missing, and DATABASE_NAME, DATABASE_USER and DATABASE_PASSWORD are set. "
                "Set DATABASE_HOST (or DB_HOST), or use DATABASE_DSN alone."
            ],
        ),
        (
            {**PARTS, "DATABASE_HOST": "db:5432"},
            [
                "DATABASE_HOST 'db:5432': neither the name nor the address of one host. "
                "Set DATABASE_HOST to a name or an address alone, and DATABASE_PORT to the port."
            ],
        ),
        (
            {**PARTS, "DATABASE_NAME": "forms\x07"},
            [
                "DATABASE_NAME: it has a line break or another control character in the name of its database; it was "
                "perhaps copied from a file together with the end of its line. Leave it out."
            ],
        ),
        (
            {**SERVER, "DATABASE_TLS": "verify-full", "DATABASE_TLS_CA": "/no/ca.pem"},
            ["DATABASE_TLS_CA '/no/ca.pem': does not exist. Correct the path, or put the file there."],
        ),
        (
            {**SERVER, "DATABASE_TLS": "verify-full", "DATABASE_TLS_CA": "/"},
            ["DATABASE_TLS_CA '/': not a file. Correct the path, or put the file there."],
        ),
        (
            {"DATABASE_DSN": "postgresql://me@db/forms?sslmode=verify-full&sslrootcert=/hunter2"},
            [
                "DATABASE_DSN: it names a file for TLS that does not exist. "
                "Correct the path in the DSN, or name the file in DATABASE_TLS_CA."
            ],
        ),
        (
            {**SERVER, "DATABASE_TLS": "require", "DATABASE_TLS_CERTIFICATE": __file__},
            [
                "DATABASE_TLS_KEY: missing, and DATABASE_TLS_CERTIFICATE is set. Set DATABASE_TLS_KEY too: a client "
                "proves who it is by a certificate and its private key."
            ],
        ),
        (
            {**SERVER, "DATABASE_TLS": "require", "DATABASE_TLS_KEY": __file__},
            [
                "DATABASE_TLS_CERTIFICATE: missing, and DATABASE_TLS_KEY is set. Set DATABASE_TLS_CERTIFICATE too: a "
                "client proves who it is by a certificate and its private key."
            ],
        ),
        (
            {**SERVER, "DATABASE_TLS": "disable", "DATABASE_TLS_CA": __file__},
            [
                "DATABASE_TLS_CA: set, and the connection is not encrypted. "
                "Set DATABASE_TLS=verify-full, or leave DATABASE_TLS_CA out."
            ],
        ),
        (
            {**SERVER, "DATABASE_TLS_CA": __file__},
            [
                "DATABASE_TLS_CA: set, and the connection is not encrypted. "
                "Set DATABASE_TLS=verify-full, or leave DATABASE_TLS_CA out."
            ],
        ),
        (
            {"DATABASE_TLS": "require", "DATABASE_TLS_CA": __file__},
            [
                "DATABASE_TLS 'require': the database is an SQLite file, and nothing goes over a network. "
                "Leave DATABASE_TLS out.",
                "DATABASE_TLS_CA: the database is an SQLite file, and nothing goes over a network. "
                "Leave DATABASE_TLS_CA out.",
            ],
        ),
        (
            {"DATABASE_QUERY_TIMEOUT": "20s"},
            [
                "DATABASE_QUERY_TIMEOUT '20s': less than DATABASE_STATEMENT_TIMEOUT, which is 30s. "
                "Leave DATABASE_QUERY_TIMEOUT out, or set it higher: the server is to give up first."
            ],
        ),
        (
            {"DATABASE_MIN_CONNS": "20", "DATABASE_MAX_OPEN_CONNS": "10"},
            [
                "DATABASE_MIN_CONNS '20': more than DATABASE_MAX_OPEN_CONNS, which is 10. "
                "Set DATABASE_MIN_CONNS to at most DATABASE_MAX_OPEN_CONNS."
            ],
        ),
        (
            {**SERVER, "DATABASE_REPLICA_DSNS": "postgresql://r1/forms mysql://me:hunter2@r2/forms"},
            [
                "DATABASE_REPLICA_DSNS: number 2 of 2 is of another kind than the database, which is postgresql. "
                "Name servers that replicate this database."
            ],
        ),
        (
            {**SERVER, "DATABASE_REPLICA_DSNS": "postgresql://me:hunter2@r1"},
            [
                "DATABASE_REPLICA_DSNS: number 1 of 1 names no database; a server has many databases, and none is the "
                "default. Add its name, as in postgresql://user@host/orders or user@tcp(host:3306)/orders."
            ],
        ),
        (
            {"DATABASE_REPLICA_DSNS": "postgresql://me:hunter2@r1/forms"},
            [
                "DATABASE_REPLICA_DSNS: set, and the database is an SQLite file, which has no replicas. "
                "Leave DATABASE_REPLICA_DSNS out."
            ],
        ),
    ],
)
def test_what_contradicts_itself_is_refused(environ: dict[str, str], expected: list[str]) -> None:
    assert problems(environ) == expected


@pytest.mark.parametrize("environ", [{}, {"DATABASE_DSN": "sqlite:////data/forms.db"}])
def test_in_kubernetes_an_embedded_database_must_be_asked_for(environ: dict[str, str]) -> None:
    in_pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", **environ}
    assert problems(in_pod) == [
        "DATABASE_DSN: an SQLite file, which every replica would have for itself. "
        "Set DATABASE_ALLOW_EMBEDDED=true if one replica with a volume of its own is what you want."
    ]
    assert settings({**in_pod, "DATABASE_ALLOW_EMBEDDED": "true"}).allow_embedded
    assert not settings({"KUBERNETES_SERVICE_HOST": "10.0.0.1", **SERVER}).allow_embedded


def test_in_kubernetes_the_default_file_is_nobodys_where_other_databases_are_named() -> None:
    in_pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "DATABASES": "orders"}
    family({**in_pod, "DATABASE_ORDERS_DSN": "postgresql://me@db/orders"})
    for embedded in ({}, {**SERVER, "DATABASE_ORDERS_DSN": "sqlite:///orders.db"}):
        with pytest.raises(ConfigError) as refused:
            family({**in_pod, **embedded})
        (part,) = diagnose(refused.value).parts
        assert f"{part.description} {part.action}" == (
            "DATABASE_ORDERS_DSN: an SQLite file, which every replica would have for itself. Set "
            "DATABASE_ORDERS_ALLOW_EMBEDDED=true if one replica with a volume of its own is what you want."
        )


def test_a_pool_without_connections_is_refused() -> None:
    assert "DATABASE_MAX_OPEN_CONNS '0'" in report({"DATABASE_MAX_OPEN_CONNS": "0"})
