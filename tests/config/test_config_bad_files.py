"""Files of config/ that are wrong: each report says file, line, key, cause and action, and no secret."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Sources, load
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from tests.config.folders import DECLARED, Database, one, read, report, write


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("base_json", '{"log_level": "warn",\n', ", line 2, column 1: ends too early, as if half written"),
        ("base_toml", "[database]\ndsn = 'hunter2", ": has a quote that is not closed, or is half written"),
        ("base_yaml", "", ": empty, as if half written"),
        ("base_json", b"\x00\x01\x02", ", line 1: holds a NUL character, as if binary"),
        ("base_json", b"\xff\xfe{\x00", ", line 1: not UTF-8"),
        ("base_yaml", b"a: " + b"x" * 10_485_760, ": more than 1 MiB long"),
        ("base_yaml", "log_level: warn\nx:\n\ty: hunter2\n", ", line 3, column 1: indented with a tab"),
        ("base_yaml", "- hunter2\n", ", line 1: a list, not a table"),
    ],
)
def test_a_file_that_cannot_be_read_is_the_only_problem(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    write(tmp_path, **{name: content})
    with pytest.raises(ConfigError) as caught:
        load(DECLARED, Sources({}, tmp_path))  # SERVICE_NAME may be in the file
    (problem,) = caught.value.problems
    text = render(diagnose(caught.value))
    assert text.startswith(
        f"The configuration has 1 problem.\n\n1. config/{name.replace('_', '.')}{says}.\n     action: "
    )
    assert problem.action in text and "hunter2" not in text


def test_a_half_written_file_is_reported_whole(tmp_path: Path) -> None:
    write(tmp_path, base_json='{\n  "database": {\n    "dsn": "hunter2')
    assert report(tmp_path, {"DATABASE_TIMEOUT": "soon"}) == (
        "The configuration has 2 problems.\n"
        "\n"
        "1. config/base.json, line 3, column 12: has a quote that is not closed, or is half written.\n"
        "     action: Complete the file.\n"
        "\n"
        "2. DATABASE_TIMEOUT 'soon': not a duration.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it to a duration such as 250ms, 5s or 5m."
    )


def refuse(*args: object, **kwargs: object) -> NoReturn:
    """In place of a file's mode, which root may ignore."""
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_file_or_folder_without_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, base_json="{}", database__base_json="{}")
    scandir = os.scandir
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        texts = report(tmp_path).split("\n\n")[1:]
    assert texts == [
        f"{number}. config/{name}: cannot be read: permission denied.\n"
        "     action: Make it readable for this user, or remove it."
        for number, name in enumerate(("base.json", "database/base.json"), 1)
    ]
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: refuse() if Path(path).name == "database" else scandir(path))
        assert "1. config/database: cannot be read: permission denied." in one(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        assert "1. config: cannot be read: permission denied." in one(tmp_path)


def test_what_is_no_regular_file_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    os.mkfifo(tmp_path / "config" / "base.json")
    (tmp_path / "config" / "base.toml").symlink_to("nowhere")
    (tmp_path / "config" / "base.yaml").symlink_to("base.yaml")
    assert report(tmp_path).split("\n\n")[1:] == [
        "1. config/base.json: cannot be read: not a regular file.\n"
        "     action: Make it readable for this user, or remove it.",
        "2. config/base.toml: cannot be read: no such file or directory.\n"
        "     action: Make it readable for this user, or remove it.",
        "3. config/base.yaml: cannot be read: too many levels of symbolic links.\n"
        "     action: Make it readable for this user, or remove it.",
    ]


def test_a_key_that_is_twice_in_a_file_is_reported_with_both_lines(tmp_path: Path) -> None:
    write(tmp_path, base_yaml="database:\n  dsn: hunter2\n  dsn: hunter3\n")
    assert one(tmp_path) == (
        "1. DATABASE_DSN: set twice, in line 2 and in line 3.\n"
        "     cause:  It was set in config/base.yaml line 3.\n"
        "     action: Remove one of the two."
    )


def test_a_variable_that_two_files_of_a_rank_set_is_reported_with_both(tmp_path: Path) -> None:
    write(tmp_path, base_json={"database": {"dsn": "hunter2"}}, database__base_toml="\ndsn = 'hunter3'")
    assert one(tmp_path) == (
        "1. DATABASE_DSN: set twice, in config/base.json line 1 and in config/database/base.toml line 2.\n"
        "     cause:  It was set in config/database/base.toml line 2.\n"
        "     action: Remove one of the two."
    )


def test_a_variable_and_its_file_in_two_files_of_a_rank_are_reported(tmp_path: Path) -> None:
    write(tmp_path, base_json={"database": {"dsn": "hunter2"}}, base_toml="database.dsn_file = 'x'")
    assert one(tmp_path) == (
        "1. DATABASE_DSN: set twice, by DATABASE_DSN and by DATABASE_DSN_FILE.\n"
        "     cause:  It was set in config/base.json line 1 and in config/base.toml line 1, declared by plugin db "
        "(eggycore-db 0.1.0).\n"
        "     action: Remove DATABASE_DSN or DATABASE_DSN_FILE."
    )


@pytest.mark.parametrize("environment", ["prod", "Production", "base", "stagin"])
def test_an_unknown_environment_is_reported(tmp_path: Path, environment: str) -> None:
    write(tmp_path, base_json={"log_level": "warn"}, database__canary_yaml="dsn: x")
    hint = {"base": "", "stagin": " Did you mean 'staging'?"}.get(environment, " Did you mean 'production'?")
    assert one(tmp_path, {"ENVIRONMENT": environment}) == (
        f"1. ENVIRONMENT '{environment}': no environment that config/ knows.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        f"     action: Set it to one of development, staging, production, canary, or give it a file there.{hint}"
    )
    assert read(tmp_path, {"ENVIRONMENT": "canary"})[Database].dsn.reveal() == "x"


def test_an_unknown_environment_of_a_check_is_reported(tmp_path: Path) -> None:
    write(tmp_path, production_json="{}")
    assert (
        "1. ENVIRONMENT 'prod': no environment that config/ knows.\n     cause:  It was set in --environment,"
        in report(tmp_path, environment="prod")
    )


def test_a_folder_that_is_not_there_is_reported_when_somebody_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        assert one(tmp_path, {"CONFIG_DIR": name}) == (
            f"1. CONFIG_DIR '{name}': no such folder.\n"
            "     cause:  It was set in the environment, declared by eggycore.\n"
            "     action: Make it the path of a folder that this user can read, or remove it for the default."
        )
    assert one(tmp_path, {"CONFIG_DIR": ""}) == (
        "1. CONFIG_DIR: empty.\n"
        "     cause:  It was set in the environment, declared by eggycore.\n"
        "     action: Set it to a path, or remove it for the default."
    )


@pytest.mark.parametrize("key", ["environment", "CONFIG_DIR", "environment_file"])
def test_what_chooses_the_files_cannot_be_set_in_one(tmp_path: Path, key: str) -> None:
    write(tmp_path, base_json={key: "production"})
    assert one(tmp_path) == (
        f"1. {key.upper()}: cannot be set in a file of configuration, which it is to choose.\n"
        "     cause:  It was set in config/base.json line 1.\n"
        "     action: Set it in the environment, in .env or with --set."
    )


def test_values_of_the_wrong_type_are_reported_with_their_places(tmp_path: Path) -> None:
    write(
        tmp_path,
        base_yaml=(
            "BUSINESS_HTTP_PORT: http\n"
            "HEALTH_CHECK_PORT: [8081, 8082]\n"
            "database:\n"
            "  max_open_conns:\n"
            "    production: 20\n"
            "  timeout: 5\n"
            "  ports: [1, two]\n"
            "  dsn: [hunter2, hunter3]\n"
            "  hosts: {a: b}\n"
            "  hook: https://u:hunter2@\n"
        ),
    )
    by_db = "declared by plugin db (eggycore-db 0.1.0)"
    port = "     action: Set it to a port number from 0 to 65535 (0 takes any free port)."
    assert report(tmp_path).partition("\n\nwarning")[0] == (
        "The configuration has 8 problems.\n"
        "\n"
        "1. BUSINESS_HTTP_PORT 'http': not a whole number.\n"
        "     cause:  It was set in config/base.yaml line 1, declared by eggycore.\n"
        f"{port}\n"
        "\n"
        "2. HEALTH_CHECK_PORT '8081,8082': a list, where one value is wanted.\n"
        "     cause:  It was set in config/base.yaml line 2, declared by eggycore.\n"
        f"{port}\n"
        "\n"
        "3. DATABASE_DSN: a list, where one value is wanted.\n"
        f"     cause:  It was set in config/base.yaml line 8, {by_db}.\n"
        "     action: Set it to text.\n"
        "\n"
        "4. DATABASE_TIMEOUT '5': a duration without a unit.\n"
        f"     cause:  It was set in config/base.yaml line 6, {by_db}.\n"
        "     action: Set it to a duration such as 250ms, 5s or 5m.\n"
        "\n"
        "5. DATABASE_PORTS '1,two': has a word that is not a whole number.\n"
        f"     cause:  It was set in config/base.yaml line 7, {by_db}.\n"
        "     action: Set it to whole numbers separated by commas.\n"
        "\n"
        "6. DATABASE_HOOK 'https://u:******@': not a URL: it has no host.\n"
        f"     cause:  It was set in config/base.yaml line 10, {by_db}.\n"
        "     action: Set it to a URL such as https://host/path.\n"
        "\n"
        "7. DATABASE_MAX_OPEN_CONNS: a table, where one value is wanted.\n"
        f"     cause:  It was set in config/base.yaml line 4, {by_db}.\n"
        "     action: Set it to a whole number of at least 1.\n"
        "\n"
        "8. DATABASE_HOSTS: a table, where a list is wanted.\n"
        f"     cause:  It was set in config/base.yaml line 9, {by_db}.\n"
        "     action: Set it to words separated by commas."
    )


def test_a_reference_that_stands_for_nothing_is_reported(tmp_path: Path) -> None:
    write(tmp_path, production_toml="[database]\ndsn = 'hunter2${UNSET}'\nhook = 'x${'\n")
    assert report(tmp_path, {"ENVIRONMENT": "production"}) == (
        "The configuration has 2 problems.\n"
        "\n"
        "1. DATABASE_DSN: ${UNSET} is not set, and has no default.\n"
        "     cause:  It was set in config/production.toml line 2.\n"
        "     action: Set UNSET in the environment, in .env or with --set, or write ${UNSET:-default}.\n"
        "\n"
        "2. DATABASE_HOOK: ${ is not closed.\n"
        "     cause:  It was set in config/production.toml line 3.\n"
        "     action: Write ${NAME} or ${NAME:-default}, or $${ for the two characters."
    )


def test_keys_that_nobody_declares_are_warnings(tmp_path: Path) -> None:
    write(tmp_path, base_json={"database": {"max_conns": 1}, "broker": {"url": "hunter2"}, "datbase_dsn": "hunter2"})
    nobody = "is not a variable of eggycore, of the app or of a selected plugin."
    expected = [
        "DATBASE_DSN, set in config/base.json line 1, is not a known variable. Did you mean 'DATABASE_DSN'?",
        f"DATABASE_MAX_CONNS, set in config/base.json line 1, {nobody} Did you mean 'DATABASE_MAX_OPEN_CONNS'?",
        f"BROKER_URL, set in config/base.json line 1, {nobody}",
    ]
    assert list(map(str, read(tmp_path).unknown)) == expected
    text = report(tmp_path, {"LOG_LEVEL": "loud"})
    assert text.endswith("\n\n" + "\n".join(f"warning: {line}" for line in expected))
    assert "hunter2" not in text


def test_a_file_whose_name_is_a_slip_of_the_finger_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, prodution_yaml="x: 1\n", database__bse_toml="x = 1\n", staging2_json={}, prod_json={})
    expected = [
        "config/database/bse.toml is not read unless ENVIRONMENT is bse. Did you mean 'base'?",
        "config/prodution.yaml is not read unless ENVIRONMENT is prodution. Did you mean 'production'?",
    ]
    assert list(map(str, read(tmp_path).unknown)) == expected
    assert str(read(tmp_path, {"ENVIRONMENT": "prodution"}).unknown[0]) == expected[0]


def test_what_nobody_reads_in_the_environment_is_no_warning(tmp_path: Path) -> None:
    write(tmp_path, base_json={})
    assert read(tmp_path, {"BROKER_URL": "x"}).unknown == ()


@given(st.dictionaries(st.sampled_from(["base", "production", "staging"]), st.binary(max_size=40)))
def test_whatever_the_files_hold_there_is_a_configuration_or_a_report(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    write(folder, **{f"{stem}_{kind}": text for stem, text in contents.items() for kind in ("json", "toml", "yaml")})
    try:
        read(folder, {"ENVIRONMENT": "production"})
    except ConfigError as error:
        assert all(problem.action for problem in error.problems)
