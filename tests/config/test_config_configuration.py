"""The configuration as it is held: settings by class, entries, explanations, digest, near misses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import (
    Candidate,
    Config,
    Configuration,
    Declared,
    Duration,
    Entry,
    Secret,
    Settings,
    SettingsMissing,
    Sources,
    UnknownVariable,
    env,
    load,
)
from eggycore.config.near import one_edit_apart
from eggycore.diagnostics import diagnose, render
from eggycore.types import Origin

DB = Origin("db", "eggycore-db", "0.1.0")


class Database(Settings):
    dsn: Secret[str] = env("DATABASE_DSN", default="sqlite://", default_doc="a SQLite file", doc="Where data is.")
    timeout: Duration = env("DATABASE_TIMEOUT", default=5.0, unit="ms", reload=True, doc="Time for a query.")


def read(environ: dict[str, str] | None = None, **overrides: str) -> Configuration:
    return load([Declared(Database, DB)], Sources(environ or {}, None, overrides))


def test_settings_are_found_by_their_class() -> None:
    configuration = read({"DATABASE_TIMEOUT": "250"})
    assert configuration[Database] == Database(timeout=0.25)
    assert Database in configuration
    assert Config not in configuration
    assert configuration.generation == 1


def test_settings_that_nobody_declared_are_explained() -> None:
    with pytest.raises(SettingsMissing) as caught:
        read()[Config]
    assert render(diagnose(caught.value)) == (
        "The settings Config are not part of this configuration.\n"
        "  cause:  Declared: Database.\n"
        "  action: Return the class from the register_settings hook, or select the plugin that declares it."
    )


def test_settings_given_in_code_win_as_a_whole(tmp_path: Path) -> None:
    given_database = Database(timeout=1.0)
    sources = Sources({"DATABASE_TIMEOUT": "250", "DATABASE_DSN": "hunter2"}, tmp_path)
    configuration = load([Declared(Database, DB)], sources, given=[given_database])
    assert configuration[Database] is given_database
    assert configuration.explain("DATABASE_TIMEOUT").candidates == (
        Candidate(origin="code", shown="1s", chosen=True),
        Candidate(origin="environment", shown="250", chosen=False),
        Candidate(origin="default", shown="5s", chosen=False),
    )


def test_settings_given_in_code_need_not_be_declared() -> None:
    configuration = load([], Sources({}, None), given=[Database(timeout=1.0)])
    assert configuration[Database].timeout == 1.0
    assert {entry.owner for entry in configuration.entries()} == {f"app {__name__}"}


def test_entries_say_everything_and_mask_secrets() -> None:
    assert read({"DATABASE_DSN": "postgres://u:hunter2@h/d"}).entries() == (
        Entry(
            key="DATABASE_DSN",
            shown="******",
            origin="environment",
            owner="plugin db (eggycore-db 0.1.0)",
            doc="Where data is.",
            default_shown="a SQLite file",
            reloadable=False,
            secret=True,
            type_name="secret text",
            unit=None,
        ),
        Entry(
            key="DATABASE_TIMEOUT",
            shown="5s",
            origin="default",
            owner="plugin db (eggycore-db 0.1.0)",
            doc="Time for a query.",
            default_shown="5s",
            reloadable=True,
            secret=False,
            type_name="duration",
            unit="ms",
        ),
    )


def test_an_explanation_masks_the_secrets_that_lost_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_DSN=hunter1\n")
    (tmp_path / "dsn").write_text("hunter2")
    sources = Sources({"DATABASE_DSN_FILE": "dsn"}, tmp_path, {"DATABASE_DSN": "hunter3"})
    explanation = load([Declared(Database, DB)], sources).explain("DATABASE_DSN")
    assert explanation.candidates == (
        Candidate(origin="--set", shown="******", chosen=True),
        Candidate(origin="dsn (DATABASE_DSN_FILE in the environment)", shown="******", chosen=False),
        Candidate(origin=".env line 1", shown="******", chosen=False),
        Candidate(origin="default", shown="a SQLite file", chosen=False),
    )


def test_an_unknown_variable_is_not_explained() -> None:
    with pytest.raises(UnknownVariable) as caught:
        read().explain("database_dns")
    assert render(diagnose(caught.value)) == (
        "database_dns is not a variable of eggycore, of the app or of a selected plugin. Did you mean 'DATABASE_DSN'?\n"
        "  action: Correct the name, or list the variables: eggycore config show"
    )


def test_the_digest_follows_the_values_that_are_not_secret() -> None:
    digest = read().digest()
    assert re.fullmatch(r"[0-9a-f]{12}", digest)
    assert read({"DATABASE_TIMEOUT": "5s"}).digest() == digest
    assert read({"DATABASE_DSN": "x"}).digest() == digest
    assert read({"DATABASE_TIMEOUT": "6s"}).digest() != digest


def test_the_digest_does_not_even_say_whether_a_secret_is_set() -> None:
    def digest(**environ: str) -> str:
        sources = Sources({"SERVICE_NAME": "a"} | environ, None)
        return load([Declared(Config, Origin("eggycore", kind="core"))], sources).digest()

    assert digest(MANAGEMENT_TOKEN="x") == digest()


def test_a_configuration_does_not_show_values() -> None:
    assert repr(read({"DATABASE_DSN": "hunter2"})) == "<Configuration generation=1 variables=2>"
    assert "hunter2" not in repr(read({"DATABASE_DSN": "hunter2"}).values)


@pytest.mark.parametrize("slip", ["DATABSE_DSN", "DATABASE_DSNN", "DATABASE_DNS", "DATABASE_DSM", "database_dsn"])
def test_a_variable_one_slip_away_from_a_known_one_is_reported(slip: str) -> None:
    (miss,) = read({slip: "hunter2", "PATH": "/bin"}).unknown
    assert str(miss) == f"{slip}, set in the environment, is not a known variable. Did you mean 'DATABASE_DSN'?"


def test_the_file_form_of_a_variable_has_its_slips_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\nDATABASE_DSN_FIL=x\n")
    (miss,) = load([Declared(Database, DB)], Sources({}, tmp_path)).unknown
    assert str(miss) == (
        "DATABASE_DSN_FIL, set in .env line 2, is not a known variable. Did you mean 'DATABASE_DSN_FILE'?"
    )


def test_variables_that_are_far_from_every_known_one_are_nobodys_business() -> None:
    assert read({"HOME": "/", "DATABASE_DSN": "x", "DATABASE": "x", "DATABASE_URL": "x"}).unknown == ()


words = st.text("ABC_", max_size=6)


@given(words, words)
def test_one_edit_is_what_the_textbook_calls_one_edit(one: str, other: str) -> None:
    assert one_edit_apart(one, other) == (other in edits(one) | {one})


def edits(word: str) -> set[str]:
    """Every word one deletion, swap, replacement or insertion away, as Norvig spells it."""
    splits = [(word[:index], word[index:]) for index in range(len(word) + 1)]
    deletes = {left + right[1:] for left, right in splits if right}
    swaps = {left + right[1] + right[0] + right[2:] for left, right in splits if len(right) > 1}
    replaces = {left + letter + right[1:] for left, right in splits if right for letter in "ABC_"}
    inserts = {left + letter + right for left, right in splits for letter in "ABC_"}
    return deletes | swaps | replaces | inserts
