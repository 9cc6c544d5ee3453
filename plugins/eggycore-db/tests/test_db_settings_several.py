"""DATABASE_<NAME>_*: the settings of several databases, and what is refused of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from eggycore.config import Configuration, Declared, Sources, load
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.types import Origin
from eggycore_db import DatabaseSettings
from eggycore_db.settings import DatabaseNames
from eggycore_db.settings_checks import check_databases
from eggycore_db.targets import ServerTarget, SqliteTarget

SERVER = {"DATABASE_DSN": "postgresql://me:hunter2@db/forms"}
OWNER = Origin("db", kind="plugin", dist="eggycore-db 0.1.0")


def family(environ: dict[str, str]) -> Configuration:
    return load([Declared(DatabaseNames, OWNER), Declared(DatabaseSettings, OWNER)], Sources(environ, None))


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
