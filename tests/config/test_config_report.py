"""The report: every problem of every owner at once, each with what to do, and no secret in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import DeclarationFailed, Declared, Duration, Secret, Settings, Sources, env, load
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError, ConfigProblem
from eggycore.types import Origin

DB = Origin("db", "eggycore-db", "0.1.0")
CACHE = Origin("cache", "eggycore-cache", "0.2.0")
APP = Origin("shop", kind="app")


class DatabaseSettings(Settings):
    dsn: Secret[str] = env("DATABASE_DSN")
    open_conns: int = env("DATABASE_MAX_OPEN_CONNS", default=100, ge=1)
    idle_conns: int = env("DATABASE_MAX_IDLE_CONNS", default=10, ge=0)

    def problems(self) -> Iterable[ConfigProblem]:
        if self.idle_conns > self.open_conns:
            yield ConfigProblem(
                key="DATABASE_MAX_IDLE_CONNS",
                value=str(self.idle_conns),
                reason="more than DATABASE_MAX_OPEN_CONNS",
                action="Set it to at most DATABASE_MAX_OPEN_CONNS.",
            )


class CacheSettings(Settings):
    ttl: Duration = env("CACHE_TTL", default=60.0, unit="ms")
    pin: Secret[int] = env("CACHE_PIN", default=1, ge=1)
    nodes: tuple[str, ...] = env("CACHE_NODES", default=())


def report(environ: dict[str, str], *declared: Declared, overrides: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(declared, Sources(environ, None, overrides or {}))
    return render(diagnose(caught.value))


def test_errors_in_two_plugins_come_in_one_report() -> None:
    environ = {"DATABASE_MAX_OPEN_CONNS": "0", "CACHE_TTL": "soon"}
    assert report(environ, Declared(DatabaseSettings, DB), Declared(CacheSettings, CACHE)) == (
        "The configuration has 3 problems.\n"
        "\n"
        "1. DATABASE_DSN: required, and not set.\n"
        "     cause:  Declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it in the environment, in .env or with --set.\n"
        "\n"
        "2. DATABASE_MAX_OPEN_CONNS '0': less than 1.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it to a whole number of at least 1.\n"
        "\n"
        "3. CACHE_TTL 'soon': not a duration.\n"
        "     cause:  It was set in the environment, declared by plugin cache (eggycore-cache 0.2.0).\n"
        "     action: Set it to a duration such as 250ms, 5s or 5m."
    )


def test_what_settings_say_of_themselves_is_completed_with_origin_and_owner() -> None:
    environ = {"DATABASE_DSN": "x", "DATABASE_MAX_IDLE_CONNS": "200"}
    assert report(environ, Declared(DatabaseSettings, DB)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. DATABASE_MAX_IDLE_CONNS '200': more than DATABASE_MAX_OPEN_CONNS.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it to at most DATABASE_MAX_OPEN_CONNS."
    )


def test_names_that_were_perhaps_meant_are_shown_below_the_report() -> None:
    environ = {"DATABASE_DNS": "hunter2", "CACHE_TTLL": "1"}
    assert report(environ, Declared(DatabaseSettings, DB), Declared(CacheSettings, CACHE)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. DATABASE_DSN: required, and not set.\n"
        "     cause:  Declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it in the environment, in .env or with --set.\n"
        "\n"
        "warning: DATABASE_DNS, set in the environment, is not a known variable. Did you mean 'DATABASE_DSN'?\n"
        "warning: CACHE_TTLL, set in the environment, is not a known variable. Did you mean 'CACHE_TTL'?"
    )


def test_a_variable_with_two_owners_is_reported_with_both() -> None:
    class Rival(Settings):
        dsn: str = env("DATABASE_DSN", default="x")

    assert report({"DATABASE_DSN": "x"}, Declared(DatabaseSettings, DB), Declared(Rival, APP)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. DATABASE_DSN: declared twice, by plugin db (eggycore-db 0.1.0) and by app shop.\n"
        "     action: Leave one of the two out, or have one of them rename its variable."
    )


def test_one_class_declared_by_two_owners_is_reported_for_each_variable() -> None:
    text = report({"DATABASE_DSN": "x"}, Declared(DatabaseSettings, DB), Declared(DatabaseSettings, APP))
    assert text.startswith("The configuration has 3 problems.")


def test_one_class_declared_twice_by_one_owner_is_one() -> None:
    configuration = load([Declared(CacheSettings, CACHE)] * 2, Sources({}, None))
    assert len(configuration.entries()) == 3


def test_a_variable_that_is_also_the_file_of_another_is_reported() -> None:
    class Log(Settings):
        name: str = env("LOG", default="x")
        file: str = env("LOG_FILE", default="x")

    assert report({}, Declared(Log, APP)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. LOG_FILE: two meanings: a variable of its own, and the file that holds LOG of app shop.\n"
        "     cause:  Declared by app shop.\n"
        "     action: Have one of the two renamed."
    )


def test_a_switch_that_is_no_variable_is_reported() -> None:
    class Door(Settings):
        port: int = env("DOOR_PORT", default=0, listens="business", when="ENABLE_DOOR")

    assert report({}, Declared(Door, APP)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. DOOR_PORT: declared with when='ENABLE_DOOR', which is no boolean variable.\n"
        "     cause:  Declared by app shop.\n"
        "     action: Correct the declaration."
    )


def test_management_ports_of_two_owners_may_be_one() -> None:
    class Health(Settings):
        port: int = env("HEALTH", default=8081, listens="management")

    class Metrics(Settings):
        port: int = env("METRICS", default=8081, listens="management")

    class Web(Settings):
        port: int = env("WEB", default=8081, listens="business")

    assert load([Declared(Health, DB), Declared(Metrics, CACHE)], Sources({}, None))[Metrics].port == 8081
    assert "1. WEB '8081': the same port as HEALTH." in report(
        {}, Declared(Health, DB), Declared(Metrics, CACHE), Declared(Web, APP)
    )


def test_an_unknown_name_on_the_command_line_is_reported() -> None:
    assert report({}, Declared(CacheSettings, CACHE), overrides={"CACHE_TLT": "5s"}) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. CACHE_TLT: not a variable of eggycore, of the app or of a selected plugin.\n"
        "     cause:  It was set in --set.\n"
        "     action: Correct the name, or select the plugin that has it. Did you mean 'CACHE_TTL'?"
    )


def test_an_empty_variable_is_reported_with_the_way_out() -> None:
    environ = {"DATABASE_DSN": "", "CACHE_TTL": " "}
    assert report(environ, Declared(DatabaseSettings, DB), Declared(CacheSettings, CACHE)) == (
        "The configuration has 2 problems.\n"
        "\n"
        "1. DATABASE_DSN: empty.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it to text.\n"
        "\n"
        "2. CACHE_TTL ' ': empty.\n"
        "     cause:  It was set in the environment, declared by plugin cache (eggycore-cache 0.2.0).\n"
        "     action: Set it to a duration such as 250ms, 5s or 5m, or remove it for the default."
    )


def test_bytes_that_are_no_text_are_reported_and_shown_escaped() -> None:
    assert "CACHE_TTL '\\\\udcff': not UTF-8." in report({"CACHE_TTL": "\udcff"}, Declared(CacheSettings, CACHE))


def test_a_long_value_is_cut_in_the_report() -> None:
    text = report({"CACHE_TTL": "x" * 5000}, Declared(CacheSettings, CACHE))
    assert f"CACHE_TTL '{'x' * 80}...': not a duration." in text


@given(st.from_regex(r"[g-z]{8,30}", fullmatch=True))
def test_no_report_shows_the_value_of_a_secret(value: str) -> None:
    environ = {"DATABASE_DSN": "", "CACHE_PIN": value}
    text = report(environ, Declared(DatabaseSettings, DB), Declared(CacheSettings, CACHE))
    assert "CACHE_PIN: not a whole number." in text
    assert value not in text


def test_a_secret_named_by_a_problem_of_its_settings_is_not_shown() -> None:
    class Leaky(Settings):
        token: Secret[str] = env("LEAKY_TOKEN")

        def problems(self) -> Iterable[ConfigProblem]:
            yield ConfigProblem(key="LEAKY_TOKEN", value=self.token.reveal(), reason="too short")

    assert "hunter2" not in report({"LEAKY_TOKEN": "hunter2"}, Declared(Leaky, APP))


def test_a_check_that_raises_is_blamed_on_its_owner_without_its_text() -> None:
    class Broken(Settings):
        token: Secret[str] = env("BROKEN_TOKEN", default="hunter2")

        def problems(self) -> Iterable[ConfigProblem]:
            raise RuntimeError(self.token.reveal())

    with pytest.raises(DeclarationFailed) as caught:
        load([Declared(Broken, CACHE)], Sources({}, Path()))
    assert render(diagnose(caught.value)) == (
        f"The configuration could not be read: {Broken.__qualname__}.problems() raised RuntimeError.\n"
        "  cause:  It belongs to plugin cache (eggycore-cache 0.2.0).\n"
        "  action: Run again with -v for the traceback, and report it to its authors."
    )
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_check_that_yields_no_problems_is_blamed_on_its_owner() -> None:
    class Broken(Settings):
        mode: str = env("BROKEN_MODE", default="a")

        def problems(self) -> Iterable[ConfigProblem]:
            return ["too short"]  # type: ignore[list-item]  # the mistake that is meant

    with pytest.raises(DeclarationFailed, match=r"\.problems\(\) raised TypeError\.$") as caught:
        load([Declared(Broken, CACHE)], Sources({}, Path()))
    assert str(caught.value.__cause__) == "problems() yields ConfigProblem, not str"


def test_a_default_that_raises_is_blamed_on_its_owner() -> None:
    class Broken(Settings):
        cores: int = env("BROKEN_CORES", default=lambda facts: int(facts.environ["NOWHERE"]))

    with pytest.raises(DeclarationFailed, match=r"the default of BROKEN_CORES raised KeyError\.$"):
        load([Declared(Broken, CACHE)], Sources({}, None))
