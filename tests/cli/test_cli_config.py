"""`eggycore config` and `eggycore plan`: what is set, and what would happen; nothing is opened, no secret is shown."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
SECRET = "kept-from-everybody"


def write_config(folder: Path, environment: str, **values: str) -> None:
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / f"{environment}.json").write_text(json.dumps(values, indent=1))


def test_show_gives_every_variable_with_its_origin_and_masks_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETING", "good day")
    result = run("config", "show", "--json", "--set", "LOG_LEVEL=debug")
    status = json.loads(result.stdout)
    assert (status["generation"], status["running"], status["last_reload"]) == (1, False, None)
    entries = {entry["key"]: entry for entry in status["entries"]}
    assert (entries["GREETING"]["shown"], entries["GREETING"]["origin"]) == ("good day", "environment")
    assert (entries["LOG_LEVEL"]["shown"], entries["LOG_LEVEL"]["origin"]) == ("debug", "--set")
    assert (entries["SERVICE_NAME"]["shown"], entries["SERVICE_NAME"]["origin"]) == (
        "eggyapp_greeting",
        "the app's name",
    )
    assert entries["GREETING_TOKEN"]["secret"] is True
    assert SECRET not in result.stdout


def test_show_for_people_has_a_block_for_each_owner(run: Run) -> None:
    text = run("config", "show").stdout
    assert text.startswith("What a process would read that is started now.\n\neggycore\nVARIABLE ")
    assert "\n\napp eggyapp_greeting\nVARIABLE         VALUE   FROM\nGREETING         hello   default\n" in text
    assert SECRET not in text


def test_explain_tells_everything_that_was_said_about_a_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETING", "good day")
    assert (
        run("config", "explain", "GREETING", "--set", "GREETING=hi").stdout
        == """\
GREETING = hi
What to say.

declared by: app eggyapp_greeting
type:        text
default:     hello
on reload:   taken over by the running process
sources, the strongest first:
  -> hi  (--set)
     good day  (environment)
     hello  (default)
"""
    )


def test_explain_finds_a_variable_by_its_other_names_and_shows_those_of_members(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "eggyapp_stores.py").write_text(
        """
from eggycore import Settings, env, hookimpl


class Names(Settings):
    names: tuple[str, ...] = env("STORES", default=("orders",), doc="The stores.")


class Store(Settings, family="STORES", prefix="STORE_"):
    host: str = env("STORE_HOST", default="localhost", also=("DB_HOST",), doc="Where it is.")


@hookimpl
def register_settings():
    return Names, Store
"""
    )
    monkeypatch.setenv("DB_HOST", "db-1")
    explained = run("config", "explain", "DB_HOST", "--app", "eggyapp_stores").stdout
    assert (
        explained
        == """\
STORE_HOST = db-1
Where it is.

declared by: app eggyapp_stores
type:        text
other names: DB_HOST
default:     localhost
on reload:   waits for a restart
sources, the strongest first:
  -> db-1  (environment, as DB_HOST)
     localhost  (default)
"""
    )
    explained = run("config", "explain", "STORE_ORDERS_HOST", "--app", "eggyapp_stores").stdout
    assert explained.startswith("STORE_ORDERS_HOST = db-1\n")
    assert "\ndefault:     the value of STORE_HOST, else localhost\n" in explained
    assert "STORE_ORDERS_HOST  db-1" in run("config", "show", "--app", "eggyapp_stores").stdout


@pytest.mark.parametrize("key", ["log.level", "log_level", "log-level", "Log.Level"])
def test_explain_understands_a_name_as_files_spell_it(run: Run, key: str) -> None:
    assert run("config", "explain", key).stdout.startswith("LOG_LEVEL = info\n")


def test_explain_guesses_what_was_meant(run: Run) -> None:
    result = run("config", "explain", "GRETING")
    assert result.exit_code == 2
    assert "Did you mean 'GREETING'?" in result.stderr


def test_check_counts_and_warns_of_near_misses(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETNG", "hi")
    result = run("config", "check")
    assert result.exit_code == 0
    assert result.stdout.startswith("The configuration can be used: ")
    assert (
        "warning: GREETNG, set in the environment, is not a known variable. Did you mean 'GREETING'?" in result.stderr
    )


def test_check_reports_every_problem_with_exit_code_2(run: Run) -> None:
    result = run("config", "check", "--set", "BUSINESS_HTTP_PORT=eighty", "--set", "GREETING_BROKEN=perhaps")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("eggycore: The configuration has 2 problems.\n\n1. BUSINESS_HTTP_PORT 'eighty': ")
    assert "\n\n2. GREETING_BROKEN 'perhaps': " in result.stderr


def test_check_tells_of_a_wrong_name_once(run: Run) -> None:
    result = run("config", "check", "--set", "GREETNG=hi")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean 'GREETING'?" in result.stderr
    assert "warning" not in result.stderr


def test_check_takes_another_environment_with_its_files_and_starts_nothing(run: Run, folder: Path) -> None:
    write_config(folder, "base", greeting="hello")
    write_config(folder, "production", startup_timeout="soon", greting="x")
    assert run("config", "check").exit_code == 0
    (folder / ".env").write_text("ENVIRONMENT=staging\n")
    result = run("config", "check", "--environment", "production")
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        result.stderr
        == """\
eggycore: The configuration has 1 problem.

1. STARTUP_TIMEOUT 'soon': not a duration.
     cause:  It was set in config/production.json line 2, declared by eggycore.
     action: Set it to a duration such as 250ms, 5s or 5m, of at least 100ms.

warning: GRETING, set in config/production.json line 3, is not a known variable. Did you mean 'GREETING'?
"""
    )
    result = run("config", "check", "--environment", "development")
    assert result.exit_code == 0
    assert result.stdout.startswith("The configuration can be used in development: ")


def test_check_guesses_which_environment_was_meant(run: Run, folder: Path) -> None:
    write_config(folder, "production")
    result = run("config", "check", "--environment", "prodction")
    assert result.exit_code == 2
    assert "Did you mean 'production'?" in result.stderr


def test_check_warns_of_secrets_in_files_and_shows_none(run: Run, folder: Path) -> None:
    write_config(folder, "production", greeting_token="hunter2")
    result = run("config", "check", "--environment", "production")
    assert (result.exit_code, result.stderr) == (
        0,
        "warning: GREETING_TOKEN, set in config/production.json line 2, is a secret: everybody knows it who can read "
        "the file. Set GREETING_TOKEN_FILE to the path of a mounted file, or write ${GREETING_TOKEN} there.\n",
    )
    assert run("config", "check").stderr == ""


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("LOG_LEVEL", ["type:        choice", "takes:       one of debug, info, warn, error, fatal"]),
        (
            "STARTUP_TIMEOUT",
            ["type:        duration", "takes:       a duration such as 250ms, 5s or 5m, of at least 100ms"],
        ),
        ("LOG_COMPRESS", ["type:        true or false", "default:     false"]),
    ],
)
def test_explain_says_what_a_variable_takes(run: Run, key: str, lines: list[str]) -> None:
    said = run("config", "explain", key).stdout.splitlines()
    begin = next(index for index, line in enumerate(said) if line.startswith("type:"))
    assert said[begin : begin + 2] == lines


def test_explain_explains_a_variable_while_others_are_wrong(run: Run) -> None:
    result = run("config", "explain", "GREETING", "--set", "LOG_LEVEL=loud")
    assert result.exit_code == 0
    assert result.stdout.startswith("GREETING = ")
    assert result.stderr == "warning: The configuration cannot be used: eggycore config check says why.\n"


def test_explain_of_a_variable_that_is_wrong_reports_that(run: Run) -> None:
    result = run("config", "explain", "LOG_LEVEL", "--set", "LOG_LEVEL=loud")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "eggycore: The configuration has 1 problem.\n\n"
        "1. LOG_LEVEL 'loud': not one of the choices.\n"
        "     cause:  It was set in --set, declared by eggycore.\n"
        "     action: Set it to one of debug, info, warn, error, fatal.\n"
    )


def test_explain_shows_what_every_file_says(run: Run, folder: Path) -> None:
    write_config(folder, "base", greeting="hello there")
    write_config(folder, "development", greeting="good day")
    assert run("config", "explain", "GREETING").stdout.endswith(
        """\
sources, the strongest first:
  -> good day  (config/development.json line 2)
     hello there  (config/base.json line 2)
     hello  (default)
"""
    )


def test_explain_tells_that_the_content_of_a_file_is_taken_over(run: Run, folder: Path) -> None:
    (folder / "eggyapp_sealed.py").write_text(
        """
from pathlib import Path

from eggycore import Settings, env, hookimpl


class Seal(Settings):
    file: Path | None = env("SEAL_FILE_PATH", default=None, contents=True, doc="What letters are closed with.")


@hookimpl
def register_settings():
    return Seal
"""
    )
    assert (
        "\non reload:   what the file holds is taken over by the running process, another path waits for a restart\n"
        in run("config", "explain", "SEAL_FILE_PATH", "--app", "eggyapp_sealed").stdout
    )


def test_an_example_can_be_had_even_while_the_configuration_is_wrong(run: Run) -> None:
    result = run("config", "env-example", "--set", "BUSINESS_HTTP_PORT=eighty")
    assert result.exit_code == 0
    assert "# SERVICE_NAME=eggyapp_greeting\n" in result.stdout
    assert "# GREETING=hello\n" in result.stdout
    assert SECRET not in result.stdout


def test_a_setting_without_a_value_is_a_usage_error_that_shows_no_value(run: Run) -> None:
    result = run("config", "show", "--set", "hunter2")
    assert result.exit_code == 2
    assert "takes KEY=VALUE, for example --set LOG_LEVEL=debug." in result.stderr
    assert "hunter2" not in result.stderr


def test_an_app_that_is_not_there_is_told_with_exit_code_2_and_a_traceback_only_on_request(run: Run) -> None:
    quiet = run("config", "show", "--app", "eggyapp_greetin")
    assert quiet.exit_code == 2
    assert quiet.stderr.startswith("eggycore: App 'eggyapp_greetin' was not found. Did you mean 'eggyapp_greeting'?\n")
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in run("config", "show", "--app", "eggyapp_greetin", "-v").stderr


def test_a_reader_that_leaves_early_is_no_error(folder: Path) -> None:
    shell = f"{shlex.quote(sys.executable)} -m eggycore config show | head -1"
    run = subprocess.run(shell, shell=True, cwd=folder, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("What a process would read that is started now.\n", "")
    shell = f"{shlex.quote(sys.executable)} -m eggycore config show >&-"
    run = subprocess.run(shell, shell=True, cwd=folder, capture_output=True, text=True, check=True)
    assert run.stderr == ""


def test_the_plan_is_shown_for_people_and_for_programs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_HEALTH_CHECK", "false")
    plan = json.loads(run("plan", "--json").stdout)
    assert [component["name"] for component in plan["initializers"]] == ["words"]
    assert [component["name"] for component in plan["services"]] == ["greeter"]
    assert [component["name"] for component in plan["checks"]] == ["greeting"]
    assert (
        run("plan").stdout
        == """\
Opened, in this order:
  words  (app eggyapp_greeting)
    provides dict, requires nothing, timeout 30 s

Started, stage by stage:
  greeter  (app eggyapp_greeting)
    stage work, requires dict, critical yes, restart on-failure

Checked:
  greeting  (app eggyapp_greeting)
    kinds ready, critical yes, interval 5 s
"""
    )


def test_a_hook_that_fails_is_told(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "eggyapp_failing.py").write_text(
        "from eggycore import hookimpl\n@hookimpl\ndef init_infra(runtime):\n    1 / 0\n"
    )
    result = run("plan", "eggyapp_failing")
    assert result.exit_code == 2
    assert (
        result.stderr
        == f"""\
eggycore: App eggyapp_failing failed in init_infra.
  cause:  ZeroDivisionError: division by zero ({folder}/eggyapp_failing.py, line 4).
  action: Correct it.
"""
    )
