"""A folder with files of configuration, and what is read from it, for the tests of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from eggycore.config import Config, Configuration, Declared, Duration, Secret, Settings, Sources, Url, env, load
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore.types import Origin

CORE = Declared(Config, Origin("eggycore", kind="core"))
DB = Origin("db", "eggycore-db", "0.1.0")


class Database(Settings):
    dsn: Secret[str] = env("DATABASE_DSN", default="none", also=("DB_DSN",))
    conns: int = env("DATABASE_MAX_OPEN_CONNS", default=10, ge=1)
    wait: Duration = env("DATABASE_TIMEOUT", default=1.0)
    hosts: tuple[str, ...] = env("DATABASE_HOSTS", default=())
    ports: tuple[int, ...] = env("DATABASE_PORTS", default=())
    hook: Url | None = env("DATABASE_HOOK", default=None)
    tls: bool = env("DATABASE_TLS", default=False)
    ca: Path | None = env("DATABASE_TLS_CA", default=None)


DECLARED = [CORE, Declared(Database, DB)]
NAMED = {"SERVICE_NAME": "forms"}


def write(folder: Path, **files: object) -> None:
    """The files under config/: "base_json" for base.json, "database__base_json" for database/base.json."""
    for name, content in files.items():
        *modules, last = name.split("__")
        stem, _, extension = last.rpartition("_")
        path = folder.joinpath("config", *modules, f"{stem}.{extension}")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        path.write_bytes(text.encode() if isinstance(text, str) else text)


def read(folder: Path | None, environ: Mapping[str, str] | None = None, **overrides: str) -> Configuration:
    return load(DECLARED, Sources(NAMED | dict(environ or {}), folder, overrides))


def report(folder: Path, environ: Mapping[str, str] | None = None, environment: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(DECLARED, Sources(NAMED | dict(environ or {}), folder, environment=environment))
    return render(diagnose(caught.value))


def one(folder: Path, environ: Mapping[str, str] | None = None) -> str:
    """The only problem of the report."""
    head, _, problem = report(folder, environ).partition("\n\n")
    assert head == "The configuration has 1 problem."
    return problem
