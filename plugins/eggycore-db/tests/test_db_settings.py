"""DATABASE_*: defaults, other names, families, and what is refused before anything opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Configuration, Declared, Secret, Sources, load, read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.types import Origin
from eggycore_db import DatabaseSettings, default_config
from eggycore_db.settings import DatabaseNames
from eggycore_db.settings_checks import check_databases
from eggycore_db.targets import ServerTarget, SqliteTarget, Tls

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


def test_each_of_several_databases_has_a_place_of_its_own_and_shares_the_rest() -> None:
    config = family(
        {
            **SERVER,
            "DATABASES": "orders,users",
            "DATABASE_MAX_OPEN_CONNS": "20",
            "DATABASE_ORDERS_DSN": "mysql://shop@db2/orders",
            "DATABASE_ORDERS_MAX_OPEN_CONNS": "5",
        }
    )
    orders, users = config.family(DatabaseSettings).values()
    assert orders.target() == ServerTarget(kind="mysql", host="db2", port=3306, name="orders", user="shop")
    assert users.target() == SqliteTarget(path=Path("users.db"))
    assert (orders.max_open_conns, users.max_open_conns) == (5, 20)
    assert (orders.migrations_path, users.migrations_path) == (Path("migrations/orders"), Path("migrations/users"))


def test_what_is_wrong_with_one_of_several_databases_names_its_variables() -> None:
    with pytest.raises(ConfigError) as refused:
        family({"DATABASES": "orders", "DATABASE_ORDERS_HOST": "db", "DATABASE_ORDERS_NAME": "orders"})
    (part,) = diagnose(refused.value).parts
    assert f"{part.description} {part.action}" == (
        "DATABASE_ORDERS_USER: missing, and DATABASE_ORDERS_HOST and DATABASE_ORDERS_NAME are set. "
        "Set DATABASE_ORDERS_USER, or use DATABASE_ORDERS_DSN alone."
    )


def test_an_sqlite_file_beside_a_server_with_tls_is_no_problem() -> None:
    config = family({**SERVER, "DATABASE_TLS": "require", "DATABASE_TLS_CA": __file__, "DATABASES": "users"})
    assert config.family(DatabaseSettings)["users"].target() == SqliteTarget(path=Path("users.db"))


def test_two_databases_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        family({"DATABASES": "orders,orders"})
    (part,) = diagnose(refused.value).parts
    assert f"{part.description} {part.action}" == "DATABASES 'orders': names 'orders' twice. Name each once."


def same(environ: dict[str, str]) -> list[str]:
    config = family(environ)
    with pytest.raises(ConfigError) as refused:
        check_databases([config[DatabaseSettings], *config.family(DatabaseSettings).values()])
    text = render(diagnose(refused.value))
    assert "hunter2" not in text
    return [f"{part.description} {part.action}" for part in diagnose(refused.value).parts]


def test_a_database_that_is_the_one_without_a_name_is_refused() -> None:
    assert same(
        {
            **SERVER,
            "DATABASES": "orders",
            "DATABASE_ORDERS_HOST": "DB",
            "DATABASE_ORDERS_NAME": "forms",
            "DATABASE_ORDERS_USER": "other",
        }
    ) == [
        "DATABASE_ORDERS_NAME: it is postgresql://DB:5432/forms, and so is the database without a name. "
        "Name another database, or use the database without a name for both."
    ]


def test_two_names_for_one_database_are_refused() -> None:
    assert same(
        {
            "DATABASES": "orders,users",
            "DATABASE_ORDERS_DSN": "me:hunter2@tcp(localhost)/shop",
            "DATABASE_USERS_DSN": "mysql://you:hunter2@127.0.0.1:3306/shop",
        }
    ) == [
        "DATABASE_USERS_DSN: it is mysql://127.0.0.1:3306/shop, and so is the database orders. "
        "Name another database, or use the database orders for both."
    ]


def test_one_sqlite_file_under_two_names_is_refused() -> None:
    assert same({"DATABASES": "orders", "DATABASE_ORDERS_DSN": "sqlite:///data/../eggycore.db"}) == [
        "DATABASE_ORDERS_DSN: it is data/../eggycore.db, and so is the database without a name. "
        "Name another database, or use the database without a name for both."
    ]


def test_databases_in_memory_and_of_different_names_are_different() -> None:
    memory = {"DATABASE_DSN": "sqlite:///:memory:", "DATABASE_ORDERS_DSN": "sqlite:///:memory:"}
    config = family({**memory, "DATABASES": "orders,users"})
    check_databases([config[DatabaseSettings], *config.family(DatabaseSettings).values()])
