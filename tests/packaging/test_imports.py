"""Nothing is imported that the selected plugins do not need: an import costs time and memory at each start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.served import served

APP = """
import sys
from eggycore import hookimpl

async def modules(request):
    found = {name.partition(".")[0] for name in sys.modules if not name.startswith("_")}
    return sorted(found - sys.stdlib_module_names - {"cython_runtime"})

@hookimpl
def register_services(runtime):
    runtime.http.get("/", modules)
"""

SAMPLE = APP.replace(
    "@hookimpl",
    "import sample_app\nfrom sample_app import init_infra, register_health_checks, register_settings\n\n@hookimpl",
).replace("    runtime.http", "    sample_app.register_services(runtime)\n    runtime.http")

DRIVERS = {"cryptography", "hiredis", "msgpack", "psycopg2", "pymemcache", "pymysql", "redis"}
HTTP = {"aiohttp", "aiohappyeyeballs", "aiosignal", "attr", "frozenlist", "idna", "multidict", "propcache", "yarl"}
CONFIGURATION = {"dotenv", "environs", "marshmallow"}
NEEDED = {"app", "click", "eggycore", "orjson", "pluggy", "uvloop", *HTTP, *CONFIGURATION}
DATABASE = {"eggycore_db", "peewee", "playhouse"}
BEFORE_PYTHON_3_13 = {"typing_extensions"}  # aiosignal's


def test_importing_eggycore_imports_nothing_else() -> None:
    script = "import sys; before = set(sys.modules); import eggycore; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    others = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert others == {"eggycore"}


@pytest.mark.parametrize(
    ("plugins", "needed"),
    [
        ("", set()),
        ("monitoring", {"eggycore_monitoring"}),
        ("cache", {"eggycore_cache"}),
        ("db", DATABASE),
        ("db,cache,monitoring", {*DATABASE, "eggycore_cache", "eggycore_monitoring"}),
    ],
)
def test_a_one_route_app_imports_what_it_needs_and_no_more(tmp_path: Path, plugins: str, needed: set[str]) -> None:
    (tmp_path / "app.py").write_text(APP)
    command = [str(Path(sys.executable).with_name("eggycore")), "run", "app", "--plugins", plugins]
    with served(command, cwd=tmp_path, environ={"PATH": os.environ["PATH"]}) as ports:
        response = urllib.request.urlopen(f"http://127.0.0.1:{ports['BUSINESS_HTTP_PORT']}/")
        with response:
            imported = set(json.load(response))
    assert imported - BEFORE_PYTHON_3_13 == NEEDED | needed


def test_the_sample_app_on_its_defaults_imports_no_driver(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SAMPLE)
    command = [str(Path(sys.executable).with_name("eggycore")), "run", "app", "--plugins", "db,cache,monitoring"]
    with served(command, cwd=tmp_path, environ={"PATH": os.environ["PATH"]}) as ports:
        forms = f"http://127.0.0.1:{ports['BUSINESS_HTTP_PORT']}/api/v1/forms"
        for address, body in ((forms, b'{"title": "Survey"}'), (f"{forms}/1", None), (forms, None)):
            urllib.request.urlopen(address, body).close()
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['BUSINESS_HTTP_PORT']}/") as response:
            imported = set(json.load(response))
    assert {"sample_app", "peewee", "grpc"} <= imported
    assert imported & DRIVERS == set()
