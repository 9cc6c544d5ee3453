"""Several databases in one runtime, each with its own pool, health check and tables."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import peewee
import pytest
from aiohttp.web import Request

from eggycore import Runtime, hookimpl
from eggycore.config import Config
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.testing import running
from eggycore_db import Database, Model, Repository, get_db, register_repository
from eggycore_db.databases import Databases, UnknownDatabase, migrations_of
from eggycore_db.settings import DatabaseSettings


class Order(Model):
    number = peewee.IntegerField()

    class Meta:
        table_name = "orders"


class User(Model):
    name = peewee.CharField()

    class Meta:
        table_name = "users"


class Orders(Repository):
    model = Order


class Users(Repository):
    model = User


class App:
    """An app that writes into each of its databases."""

    @hookimpl
    def register_services(self, runtime: Runtime) -> None:
        async def write(request: Request, db: Database) -> dict[str, Any]:
            order = await get_db("orders").create(Order, number=7)
            user = await get_db("users").create(User, name="a")
            return {"default": db.name, "order": order.id, "user": user.id, "same": get_db() is db}

        runtime.http.post("/write", write)


@pytest.fixture(autouse=True)
def repositories(registered: None) -> None:
    register_repository(Orders, database="orders")
    register_repository(Users, database="users")


@pytest.fixture
def two(postgres_dsn: str, mariadb_dsn: str) -> dict[str, str]:
    """Two databases on two kinds of server."""
    return {
        "DATABASES": "orders,users",
        "DATABASE_ORDERS_DSN": postgres_dsn,
        "DATABASE_USERS_DSN": mariadb_dsn,
        "DATABASE_USERS_MAX_OPEN_CONNS": "3",
    }


async def test_each_has_its_own_tables_pool_and_health_check(two: dict[str, str], tmp_path: Path) -> None:
    async with running(App(), plugins=["db"], settings=two, folder=tmp_path) as service:
        async with service.http.post("/write") as response:
            assert await response.json() == {"default": "orders", "order": 1, "user": 1, "same": True}
        async with service.health.get("/healthz") as response:
            checks = (await response.json())["checks"]
            assert (checks["database-orders"], checks["database-users"]) == ("OK", "OK")
        databases = service.runtime.get(Databases)
        assert list(databases) == ["orders", "users"]
        orders, users = databases.values()
        assert (orders.kind, users.kind) == ("postgresql", "mysql")
        assert (orders.limits.max_open, users.limits.max_open) == (100, 3)
        assert databases["default"] is orders
        assert await orders.run(orders.peewee.table_exists, "users") is False
        assert await users.run(users.peewee.table_exists, "orders") is False
        labels = {
            sample.labels
            for family in service.runtime.metrics.collect()
            if family.name == "db_connections_open"
            for sample in family.samples
        }
        assert labels == {("orders",), ("users",)}
        subjects = [finding.subject for finding in await orders.examine(replicas=1)]
        assert subjects == ["database orders", "database orders", "database users", "database users"]


async def test_a_database_that_nobody_named(two: dict[str, str], tmp_path: Path) -> None:
    async with running(App(), plugins=["db"], settings=two, folder=tmp_path) as service:
        with pytest.raises(UnknownDatabase) as unknown:
            service.runtime.get(Databases)["order"]
        assert render(diagnose(unknown.value)) == (
            "There is no database 'order'. Did you mean 'orders'?\n"
            "  cause:  Open now: orders, users.\n"
            "  action: Name it in DATABASES and set DATABASE_ORDER_DSN, or use one of these."
        )


async def test_two_names_for_one_database_are_refused_before_anything_opens(postgres_dsn: str, tmp_path: Path) -> None:
    settings = {
        "DATABASES": "orders,users",
        "DATABASE_ORDERS_DSN": postgres_dsn,
        "DATABASE_USERS_DSN": postgres_dsn.replace("postgres@", "postgres:hunter2@"),
    }
    with pytest.raises(ConfigError) as refused:
        async with running(App(), plugins=["db"], settings=settings, folder=tmp_path):
            pass
    location = postgres_dsn.replace("postgres@", "")
    text = render(diagnose(refused.value))
    assert f"it is {location}, and so is the database orders" in text
    assert "DATABASE_USERS_DSN" in text
    assert "Name another database, or use the database orders for both." in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({}, "auto"),
        ({"ENVIRONMENT": "production"}, "check"),
        ({"ENVIRONMENT": "production", "DATABASE_MIGRATIONS": "auto"}, "auto"),
    ],
)
async def test_migrations_at_start_go_by_the_environment(settings: dict[str, str], mode: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    given = {"SERVICE_NAME": "test"}
    plugin = import_module("eggycore_db.plugin")
    runtime = Runtime(app=None, objects=[("db", plugin)], environ=given, folder=tmp_path, discover=False)
    config = runtime.configure()
    assert migrations_of(config, config[DatabaseSettings]) == mode
    assert config[Config].environment == settings.get("ENVIRONMENT", "development")
