"""DATABASE_*: defaults, other names, parts of a DSN, TLS and replicas."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Secret, read_from_env
from eggycore_db import DatabaseSettings, default_config
from eggycore_db.targets import ServerTarget, SqliteTarget, Tls

PARTS = {"DATABASE_HOST": "db", "DATABASE_NAME": "forms", "DATABASE_USER": "me"}
SERVER = {"DATABASE_DSN": "postgresql://me:hunter2@db/forms"}


def settings(environ: dict[str, str]) -> DatabaseSettings:
    return read_from_env(DatabaseSettings, environ)


def test_the_defaults_are_a_file_in_the_working_folder_and_100_connections_10_idle() -> None:
    read = settings({})
    assert read.target() == SqliteTarget(path=Path("eggycore.db"))
    assert read.replica_targets() == ()
    assert (read.max_open_conns, read.max_idle_conns, read.min_conns, read.allow_embedded) == (100, 10, 0, True)
    assert (read.connect_timeout, read.acquire_timeout, read.statement_timeout, read.query_limit) == (5, 10, 30, 35)
    assert (read.conn_max_lifetime, read.conn_max_idle_time, read.idle_check_interval) == (3600, 600, 30)
    assert (read.log_level, read.slow_query, read.auto_tables) == ("warn", 1, True)
    assert read.migrations_path == Path("migrations")


def test_default_config_is_the_settings_of_an_empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("ENVIRONMENT", raising=False)
    assert default_config() == settings({})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "auto"),
        ({"ENVIRONMENT": ""}, "auto"),
        ({"ENVIRONMENT": "development"}, "auto"),
        ({"ENVIRONMENT": "production"}, "check"),
        ({"ENVIRONMENT": "staging"}, "check"),
        ({"ENVIRONMENT": "production", "DATABASE_MIGRATIONS": "auto"}, "auto"),
    ],
)
def test_migrations_are_applied_by_themselves_in_development_only(environ: dict[str, str], expected: str) -> None:
    assert settings(environ).migrations == expected


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({"DATABASE_STATEMENT_TIMEOUT": "60s"}, 65),
        ({"DATABASE_STATEMENT_TIMEOUT": "0s"}, 0),
        ({"DATABASE_STATEMENT_TIMEOUT": "0s", "DATABASE_QUERY_TIMEOUT": "7s"}, 7),
        ({"DATABASE_QUERY_TIMEOUT": "0s"}, 0),
        ({"DATABASE_QUERY_TIMEOUT": "31s"}, 31),
    ],
)
def test_the_server_gives_up_a_query_before_it_is_cut_here(environ: dict[str, str], limit: float) -> None:
    assert settings(environ).query_limit == limit


def test_a_server_may_be_named_by_its_parts_with_the_password_as_it_is() -> None:
    environ = {**PARTS, "DATABASE_PORT": "6432", "DATABASE_PASSWORD": "p%40/@:"}
    assert settings(environ).target() == ServerTarget(
        kind="postgresql", host="db", port=6432, name="forms", user="me", password=Secret("p%40/@:")
    )


def test_the_parts_may_name_a_mysql_server_or_a_socket() -> None:
    mysql = settings({**PARTS, "DATABASE_SCHEME": "mysql"}).target()
    assert mysql == ServerTarget(kind="mysql", host="db", port=3306, name="forms", user="me")
    socket = settings({**PARTS, "DATABASE_HOST": "/run/postgresql"}).target()
    assert socket == ServerTarget(
        kind="postgresql", host="", port=5432, name="forms", user="me", socket=Path("/run/postgresql")
    )


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1).filter(str.strip))
def test_any_password_can_be_given_as_a_part(password: str) -> None:
    target = DatabaseSettings(host="db", name="forms", user="me", password=Secret(password)).target()
    assert isinstance(target, ServerTarget)
    assert target.password == Secret(password)


def test_other_names_are_taken_and_their_plain_numbers_are_milliseconds() -> None:
    read = settings(
        {
            "DB_HOST": "db",
            "DB_PORT": "6432",
            "DB_NAME": "forms",
            "DB_USER": "me",
            "DB_PASSWORD": "secret",
            "DB_SSL": "true",
            "DB_POOL_MAX": "20",
            "DB_POOL_MIN": "2",
            "DB_POOL_IDLE_TIMEOUT": "30000",
            "DB_CONNECTION_TIMEOUT": "2500",
            "DB_POOL_ACQUIRE_TIMEOUT": "1500",
            "DB_STATEMENT_TIMEOUT": "9000",
            "DB_QUERY_TIMEOUT": "10s",
        }
    )
    assert read.target() == ServerTarget(
        kind="postgresql",
        host="db",
        port=6432,
        name="forms",
        user="me",
        password=Secret("secret"),
        tls=Tls(mode="require"),
    )
    assert (read.max_open_conns, read.min_conns, read.conn_max_idle_time) == (20, 2, 30)
    assert (read.connect_timeout, read.acquire_timeout) == (2.5, 1.5)
    assert (read.statement_timeout, read.query_limit) == (9, 10)


@pytest.mark.parametrize(
    ("environ", "tls"),
    [
        ({}, Tls(mode="require", ca=Path(__file__))),
        ({"DATABASE_TLS": "verify-full"}, Tls(mode="verify-full", ca=Path(__file__))),
        ({"DATABASE_TLS": "true"}, Tls(mode="require", ca=Path(__file__))),
        ({"DATABASE_TLS": "false"}, Tls(mode="disable")),
        ({"DATABASE_TLS": "disable"}, Tls(mode="disable")),
        (
            {"DATABASE_TLS_CERTIFICATE": __file__, "DATABASE_TLS_KEY": __file__},
            Tls(mode="require", ca=Path(__file__), certificate=Path(__file__), key=Path(__file__)),
        ),
    ],
)
def test_the_tls_settings_win_over_the_dsn(environ: dict[str, str], tls: Tls) -> None:
    dsn = f"postgresql://me@db/forms?sslmode=require&sslrootcert={__file__}"
    target = settings({"DATABASE_DSN": dsn, **environ}).target()
    assert isinstance(target, ServerTarget)
    assert target.tls == tls


def test_a_tls_setting_is_enough_without_a_dsn_that_asks_for_it() -> None:
    target = settings({**SERVER, "DATABASE_TLS": "verify-ca", "DATABASE_TLS_CA": __file__}).target()
    assert isinstance(target, ServerTarget)
    assert target.tls == Tls(mode="verify-ca", ca=Path(__file__))


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://r1/forms postgres://r2/forms",
        "postgresql://r1/forms,postgresql://r2/forms",
        "postgresql://r1/forms , \n\n postgresql://r2/forms,\n",
        "host=r1 dbname=forms\nhost=r2 dbname=forms",
    ],
)
def test_replicas_are_separated_by_lines_or_before_the_next_url(text: str) -> None:
    targets = settings({**SERVER, "DATABASE_REPLICA_DSNS": text, "DATABASE_TLS": "require"}).replica_targets()
    expected = [
        ServerTarget(kind="postgresql", host=host, port=5432, name="forms", user="", tls=Tls(mode="require"))
        for host in ("r1", "r2")
    ]
    assert list(targets) == expected


def test_a_comma_in_the_password_of_a_replica_ends_nothing() -> None:
    text = "me:a, b@tcp(r1)/forms"
    (target,) = settings({"DATABASE_DSN": "mysql://me@db/forms", "DATABASE_REPLICA_DSNS": text}).replica_targets()
    assert isinstance(target, ServerTarget)
    assert target.password == Secret("a, b")
