"""DATABASE_*: defaults, and what is refused before anything opens."""

from __future__ import annotations

import pytest

from eggycore.config import read_from_env
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from eggycore_db import DatabaseSettings, default_config


def report(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        read_from_env(DatabaseSettings, environ)
    return render(diagnose(refused.value))


def test_the_defaults_are_a_file_in_the_working_folder_and_100_connections_10_idle() -> None:
    settings = read_from_env(DatabaseSettings, {})
    assert settings.dsn.reveal() == "sqlite:///eggycore.db"
    assert (settings.max_open_conns, settings.max_idle_conns, settings.allow_embedded) == (100, 10, True)


def test_default_config_is_the_settings_of_an_empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert default_config() == read_from_env(DatabaseSettings, {})


def test_a_server_is_refused_without_showing_the_password() -> None:
    text = report({"DATABASE_DSN": "postgresql://me:hunter2@db/forms"})
    assert "DATABASE_DSN: it names a PostgreSQL server, and this version of eggycore-db speaks SQLite only." in text
    assert "action: Use an SQLite file for now, for example sqlite:///eggycore.db." in text
    assert "hunter2" not in text


@pytest.mark.parametrize("environ", [{}, {"DATABASE_DSN": "sqlite:////data/forms.db"}])
def test_in_kubernetes_an_embedded_database_must_be_asked_for(environ: dict[str, str]) -> None:
    in_pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", **environ}
    text = report(in_pod)
    assert "DATABASE_DSN: an SQLite file, which every replica would have for itself." in text
    assert "Set DATABASE_ALLOW_EMBEDDED=true if one replica with a volume of its own is what you want." in text
    assert read_from_env(DatabaseSettings, {**in_pod, "DATABASE_ALLOW_EMBEDDED": "true"}).allow_embedded


def test_a_pool_without_connections_is_refused() -> None:
    assert "DATABASE_MAX_OPEN_CONNS '0'" in report({"DATABASE_MAX_OPEN_CONNS": "0"})
