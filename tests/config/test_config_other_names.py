"""Other names of a variable: they count when its own is not set, and everything that is said names the one used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import (
    Configuration,
    Declared,
    Duration,
    Other,
    Secret,
    Settings,
    Sources,
    env,
    env_example,
    load,
    reference_markdown,
)
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError, ConfigProblem
from eggycore.types import Origin

DB = Origin("db", "eggycore-db", "0.1.0")


class Store(Settings):
    host: str = env("STORE_HOST", default="localhost", also=("DB_HOST", "PGHOST"), doc="Where it is.")
    wait: Duration = env(
        "STORE_WAIT", default=5.0, le=60, also=(Other("DB_POOL_TIMEOUT", unit="ms"),), doc="Patience.", reload=True
    )
    password: Secret[str] = env("STORE_PASSWORD", default="", allow_empty=True, also=("DB_PASSWORD",), doc="Key.")

    def problems(self) -> Iterable[ConfigProblem]:
        if self.host == "nowhere":
            yield ConfigProblem(key="STORE_HOST", value=self.host, reason="nowhere", action="Set it.")


STORE = Declared(Store, DB)


def read(environ: dict[str, str] | None = None, folder: Path | None = None, **overrides: str) -> Configuration:
    return load([STORE], Sources(environ or {}, folder, overrides))


def report(environ: dict[str, str], *declared: Declared) -> str:
    with pytest.raises(ConfigError) as caught:
        load(declared or [STORE], Sources(environ, None))
    return render(diagnose(caught.value))


def test_a_variable_is_read_under_another_name_and_its_origin_says_so() -> None:
    configuration = read({"DB_HOST": "db-1"})
    assert configuration[Store].host == "db-1"
    assert configuration.values["STORE_HOST"].origin == "environment, as DB_HOST"
    assert configuration.unknown == ()


def test_the_own_name_wins_from_the_weakest_layer_over_another_name_in_the_strongest(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STORE_HOST=own\n")
    configuration = read({"DB_HOST": "environment"}, tmp_path, DB_HOST="command line")
    assert configuration[Store].host == "own"
    assert configuration.values["STORE_HOST"].origin == ".env line 1"


def test_of_other_names_the_first_wins_and_of_one_name_the_strongest_layer() -> None:
    assert read({"PGHOST": "a", "DB_HOST": "b"})[Store].host == "b"
    assert read({"PGHOST": "a", "DB_HOST": "b"}, PGHOST="c", DB_HOST="d")[Store].host == "d"


def test_a_plain_number_counts_what_the_name_says() -> None:
    assert read({"DB_POOL_TIMEOUT": "1500"})[Store].wait == 1.5
    assert read({"DB_POOL_TIMEOUT": "2s"})[Store].wait == 2.0
    assert "STORE_WAIT '1500': a duration without a unit." in report({"STORE_WAIT": "1500"})


def test_a_file_may_hold_the_value_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    configuration = read({"DB_PASSWORD_FILE": "password"}, tmp_path)
    assert configuration[Store].password.reveal() == "hunter2"
    assert configuration.values["STORE_PASSWORD"].origin == "password (DB_PASSWORD_FILE in the environment)"


def test_what_is_wrong_is_reported_under_the_name_that_was_used() -> None:
    environ = {"DB_POOL_TIMEOUT": "120000", "DB_PASSWORD": "a", "DB_PASSWORD_FILE": "/nowhere", "DB_HOST": " "}
    assert report(environ) == (
        "The configuration has 3 problems.\n"
        "\n"
        "1. DB_HOST ' ': empty.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it to text, or remove it for the default.\n"
        "\n"
        "2. DB_POOL_TIMEOUT '2m': more than 1m.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it to a duration such as 250ms, 5s or 5m, of at most 1m.\n"
        "\n"
        "3. DB_PASSWORD: set twice, by DB_PASSWORD and by DB_PASSWORD_FILE.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Remove DB_PASSWORD or DB_PASSWORD_FILE."
    )


def test_a_file_of_another_name_that_cannot_be_read_is_reported_under_it() -> None:
    assert "1. DB_PASSWORD_FILE '/nowhere': no such file.\n" in report({"DB_PASSWORD_FILE": "/nowhere"})


def test_what_settings_say_of_themselves_tells_the_name_that_was_used() -> None:
    assert "It was set in the environment, as DB_HOST, declared by plugin db" in report({"DB_HOST": "nowhere"})


def test_an_explanation_shows_every_candidate_with_its_name_and_is_found_by_each() -> None:
    configuration = read({"PGHOST": "a", "DB_HOST": "b"}, DB_HOST="c")
    explanation = configuration.explain("DB_HOST")
    assert explanation == configuration.explain("STORE_HOST") == configuration.explain("PGHOST")
    assert explanation.entry.also == ("DB_HOST", "PGHOST")
    assert [(said.shown, said.origin, said.chosen) for said in explanation.candidates] == [
        ("c", "--set, as DB_HOST", True),
        ("b", "environment, as DB_HOST", False),
        ("a", "environment, as PGHOST", False),
        ("localhost", "default", False),
    ]


def test_secrets_stay_masked_under_every_name() -> None:
    explanation = read({"DB_PASSWORD": "hunter2", "STORE_PASSWORD": "hunter3"}).explain("DB_PASSWORD")
    assert "hunter" not in str(explanation)


def test_a_slip_in_another_name_is_noticed() -> None:
    (near,) = read({"DB_HSOT": "x"}).unknown
    assert str(near) == "DB_HSOT, set in the environment, is not a known variable. Did you mean 'DB_HOST'?"


def test_another_name_that_is_somebodys_variable_is_a_problem() -> None:
    class Rival(Settings):
        host: str = env("DB_HOST", default="x")

    assert report({}, STORE, Declared(Rival, Origin("rival", "eggy-rival", "1.0"))) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. DB_HOST: declared twice, by plugin rival (eggy-rival 1.0) and by plugin db (eggycore-db 0.1.0) as another "
        "name of STORE_HOST.\n"
        "     action: Leave one of the two out, or have one of them rename its variable."
    )


def test_another_name_of_two_variables_is_a_problem() -> None:
    class Rival(Settings):
        server: str = env("RIVAL_SERVER", default="x", also=("PGHOST",))

    assert (
        "1. PGHOST: declared twice, by plugin db (eggycore-db 0.1.0) as another name of STORE_HOST and by plugin rival "
        "as another name of RIVAL_SERVER.\n"
    ) in report({}, STORE, Declared(Rival, Origin("rival")))


def test_another_name_that_is_also_a_file_of_a_variable_is_a_problem() -> None:
    class Rival(Settings):
        server: str = env("RIVAL_SERVER", default="x", also=("DB_HOST_FILE",))

    assert (
        "1. DB_HOST_FILE: two meanings: another name of RIVAL_SERVER, and the file that holds DB_HOST of plugin db "
        "(eggycore-db 0.1.0).\n"
    ) in report({}, STORE, Declared(Rival, Origin("rival")))


@pytest.mark.parametrize(
    ("also", "says"),
    [
        (("db_host",), "'db_host' is not a variable name"),
        (("A_KEY", "A_KEY"), "A_KEY is twice a name of X_KEY"),
        (("X_KEY",), "X_KEY is twice a name of X_KEY"),
        ((Other("A_KEY", unit="ms"),), "'ms' is no unit of a text, so A_KEY cannot have it"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(also: tuple[str | Other, ...], says: str) -> None:
    with pytest.raises(TypeError, match=says):

        class Wrong(Settings):
            key: str = env("X_KEY", default="x", also=also)


def test_the_reference_and_the_example_show_other_names() -> None:
    assert "| Where it is. Also as DB_HOST, PGHOST. |" in reference_markdown([STORE])
    assert "# Patience. At most 1m. Also as DB_POOL_TIMEOUT (in ms). (duration; default: 5s)" in env_example([STORE])


NAMES = ("STORE_HOST", "DB_HOST", "PGHOST")
LAYER = st.dictionaries(st.sampled_from(NAMES), st.text("abc", min_size=1, max_size=3))


@given(LAYER, LAYER, LAYER)
def test_any_setting_of_any_names_agrees_with_the_rule(
    tmp_path_factory: pytest.TempPathFactory, dotenv: dict[str, str], environ: dict[str, str], overrides: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("layers")
    (folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in dotenv.items()))
    configuration = load([STORE], Sources(environ, folder, overrides))
    said = [layer[name] for name in NAMES for layer in (overrides, environ, dotenv) if name in layer]
    assert configuration[Store].host == [*said, "localhost"][0]
    shown = [candidate.shown for candidate in configuration.explain("STORE_HOST").candidates]
    assert shown == [*said, "localhost"]
