"""docs/servers.md and deploy/compose.yaml say the same, and what a reader does with them works."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.clients import on_mariadb, on_postgres
from tests.servers import mariadb_server, postgres_server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "servers.md").read_text(encoding="utf-8")
FILE = ROOT / "deploy" / "compose.yaml"
COMPOSE = FILE.read_text(encoding="utf-8")
URLS = dict(re.findall(r"^\| (\w+) \| `\w+=(\S+)` \|$", PAGE, flags=re.MULTILINE))
STATEMENTS = [block.strip().split("\n") for block in re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)]
SERVICES = {"postgres": 5432, "mariadb": 3306, "redis": 6379, "memcached": 11211}


def test_docker_takes_the_compose_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("docker compose is not installed")
    words = [docker, "compose", "-f", str(FILE), "config", "--quiet"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("service", "port"), SERVICES.items())
def test_a_service_listens_on_the_loopback_only_and_says_when_it_is_well(service: str, port: int) -> None:
    body = _service(service)
    assert re.findall(r'^      - "(\S+)"$', body, flags=re.MULTILINE) == [f"127.0.0.1:{port}:{port}"]
    assert "    healthcheck:\n" in body


def test_every_password_is_a_variable_that_the_page_names() -> None:
    values = re.findall(r"^ +(?:[A-Z]+_PASSWORD|REDISCLI_AUTH): (.+)$", COMPOSE, flags=re.MULTILINE)
    names = ["POSTGRES_PASSWORD", "MARIADB_PASSWORD", "REDIS_PASSWORD"]
    assert values == [f"${{{name}:-development}}" for name in names]
    assert [name for name in names if name not in PAGE] == []


def test_the_urls_are_those_of_the_compose_file() -> None:
    for name, service in {"PostgreSQL": "postgres", "MariaDB": "mariadb"}.items():
        prefix = service.upper()
        user, database = (re.search(rf"{prefix}_{it}: (\w+)", COMPOSE) for it in ("USER", "(?:DB|DATABASE)"))
        assert user and database
        assert URLS[name].endswith(f"//{user[1]}:development@127.0.0.1:{SERVICES[service]}/{database[1]}")
    assert URLS["Redis"] == f"redis://:development@127.0.0.1:{SERVICES['redis']}/0"
    assert URLS["Memcached"] == f"memcached://127.0.0.1:{SERVICES['memcached']}"


def test_the_statements_for_debian_s_postgres_make_what_its_url_names() -> None:
    with postgres_server(password="another") as server:
        for statement in STATEMENTS[0]:
            server.execute(statement, name="postgres")
        url = URLS["PostgreSQL"].replace(":5432/", f":{server.port}/")
        assert on_postgres(url, "CREATE TABLE t (a int); SELECT current_user") == [("eggycore",)]


def test_the_statements_for_debian_s_mariadb_make_what_its_url_names() -> None:
    with mariadb_server() as server:
        server.execute(*STATEMENTS[1])
        url = URLS["MariaDB"].replace(":3306/", f":{server.port}/")
        on_mariadb(url, "CREATE TABLE t (a int)")
        assert on_mariadb(url, "SELECT database()") == (("eggycore",),)


def _service(name: str) -> str:
    parts = re.split(r"^  (\w+):\n", COMPOSE.partition("\nvolumes:")[0], flags=re.MULTILINE)
    return parts[parts.index(name) + 1]
