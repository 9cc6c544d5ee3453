"""The folder config/: which files are read, what they may say, and who wins."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggycore.config import Config, Secret, Sources, load, read_from_env
from eggycore.config import files as files_module
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError
from tests.config.folders import DECLARED, NAMED, Database, read, write

RANKS = ("base", "production", ".env", "environment", "--set")


@given(st.dictionaries(st.sampled_from(RANKS), st.integers(1, 99)), st.sampled_from(["json", "toml", "yaml", "yml"]))
def test_the_strongest_layer_wins_and_an_explanation_shows_every_one(
    tmp_path_factory: pytest.TempPathFactory, said: dict[str, int], extension: str
) -> None:
    folder = tmp_path_factory.mktemp("layers")
    shape = {"json": '{{"database":\n {{"max_open_conns": {0}}}}}', "toml": "[database]\nmax_open_conns = {0}"}
    text = shape.get(extension, "database:\n  max_open_conns: {0}")
    for rank in ("base", "production"):
        if rank in said:
            write(folder, **{f"{rank}_{extension}": text.format(said[rank])})
    (folder / ".env").write_text(f"DATABASE_MAX_OPEN_CONNS={said['.env']}" if ".env" in said else "")
    environ = {"ENVIRONMENT": "production"}
    if "environment" in said:
        environ["DATABASE_MAX_OPEN_CONNS"] = str(said["environment"])
    overrides = {"DATABASE_MAX_OPEN_CONNS": str(said["--set"])} if "--set" in said else {}
    configuration = read(folder, environ, **overrides)
    spoken = [rank for rank in reversed(RANKS) if rank in said]
    places = {
        "base": f"config/base.{extension} line 2",
        "production": f"config/production.{extension} line 2",
        ".env": ".env line 1",
    }
    explanation = configuration.explain("DATABASE_MAX_OPEN_CONNS")
    shown = [(candidate.origin, candidate.shown) for candidate in explanation.candidates]
    assert shown == [*((places.get(rank, rank), str(said[rank])) for rank in spoken), ("default", "10")]
    assert [candidate.chosen for candidate in explanation.candidates] == [True] + [False] * len(spoken)
    assert configuration[Database].conns == (said[spoken[0]] if spoken else 10)


def test_three_ways_to_write_one_variable_are_one(tmp_path: Path) -> None:
    ways: list[dict[str, object]] = [
        {"production_json": {"database": {"max-open-conns": 20}}},
        {"production_toml": "DATABASE_MAX_OPEN_CONNS = 20"},
        {"database__production_yaml": "max_open_conns: 20"},
        {"database__production_json": {"DATABASE_MAX_OPEN_CONNS": "20"}},
    ]
    for number, way in enumerate(ways):
        folder = tmp_path / str(number)
        write(folder, **way)
        assert read(folder, {"ENVIRONMENT": "production"})[Database].conns == 20


def test_all_formats_and_modules_of_a_rank_are_read_together(tmp_path: Path) -> None:
    write(
        tmp_path,
        base_json={"database": {"dsn": "a"}},
        base_toml="database.timeout = '2s'",
        database__base_yaml="max_open_conns: 3\nhosts:\n- a\n- b\n",
        database__staging_yml="ports: [1, 2]",
        staging_json={"database-hook": "https://u:p@h/x"},
        production_json={"database": {"max_open_conns": 99}},
    )
    configuration = read(tmp_path, {"ENVIRONMENT": "staging"})
    assert configuration[Database] == Database(
        dsn=Secret("a"), wait=2.0, conns=3, hosts=("a", "b"), ports=(1, 2), hook="https://u:p@h/x"
    )
    assert [entry.origin for entry in configuration.entries() if entry.key.startswith("DATABASE_")] == [
        "config/base.json line 1",
        "config/database/base.yaml line 1",
        "config/base.toml line 1",
        "config/database/base.yaml line 2",
        "config/database/staging.yml line 1",
        "config/staging.json line 1",
        "default",
        "default",
    ]
    assert configuration.unknown == ()


@pytest.mark.parametrize("source", ["environment", ".env", "--set", "default"])
def test_the_environment_that_chooses_the_files_comes_from_the_layers_above_them(tmp_path: Path, source: str) -> None:
    write(tmp_path, development_json={"log_level": "debug"}, production_json={"log_level": "error"})
    environ, overrides = {}, {}
    match source:
        case "environment":
            environ["ENVIRONMENT"] = "production"
        case ".env":
            (tmp_path / ".env").write_text("X=production\nENVIRONMENT=${X}\n")
        case "--set":
            environ["ENVIRONMENT"] = "staging"
            overrides["ENVIRONMENT"] = "production"
    expected = "debug" if source == "default" else "error"
    assert read(tmp_path, environ, **overrides)[Config].log_level == expected


def test_an_environment_may_be_forced_for_a_check(tmp_path: Path) -> None:
    write(tmp_path, production_json={"log_level": "error"}, development_json={"log_level": "debug"})
    (tmp_path / ".env").write_text("ENVIRONMENT=development\n")
    sources = Sources(NAMED | {"ENVIRONMENT": "staging"}, tmp_path, {"ENVIRONMENT": "x"}, environment="production")
    configuration = load(DECLARED, sources)
    assert configuration[Config].environment == "production"
    assert configuration[Config].log_level == "error"
    said = configuration.explain("ENVIRONMENT").candidates
    assert [(candidate.shown, candidate.origin) for candidate in said] == [
        ("production", "--environment"),
        ("x", "--set"),
        ("staging", "environment"),
        ("development", ".env line 1"),
        ("development", "default"),
    ]


def test_settings_made_in_code_choose_the_files(tmp_path: Path) -> None:
    write(tmp_path, production_json={"database": {"max_open_conns": 7}})
    core = Config(service_name="forms", environment="production")
    assert load(DECLARED, Sources({}, tmp_path), given=[core])[Database].conns == 7
    forced = Sources({}, tmp_path, environment="staging")
    assert load(DECLARED, forced, given=[core])[Database].conns == 10
    elsewhere = Config(service_name="forms", environment="production", config_dir=Path("nowhere"))
    with pytest.raises(ConfigError) as caught:
        load(DECLARED, Sources({}, tmp_path), given=[elsewhere])
    assert "1. CONFIG_DIR 'nowhere': no such folder.\n     cause:  It was set in code," in render(
        diagnose(caught.value)
    )


def test_another_folder_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "base.toml").write_text("log_level = 'warn'")
    write(tmp_path, base_toml="log_level = 'error'")
    relative = read(tmp_path, {"CONFIG_DIR": "etc"})
    assert relative.explain("LOG_LEVEL").entry.origin == "etc/base.toml line 1"
    assert relative[Config].config_dir == Path("etc")
    absolute = read(None, {"CONFIG_DIR": str(tmp_path / "etc")})
    assert absolute.explain("LOG_LEVEL").entry.origin == f"{tmp_path}/etc/base.toml line 1"
    assert read(tmp_path, CONFIG_DIR="etc/")[Config].log_level == "warn"
    (tmp_path / ".env").write_text("CONFIG_DIR=etc\n")
    assert read(tmp_path)[Config].log_level == "warn"


def test_without_a_folder_nothing_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, base_json={"log_level": "warn"})
    monkeypatch.chdir(tmp_path)
    assert read(None)[Config].log_level == "info"
    assert read_from_env(Config, NAMED).log_level == "info"


def test_one_class_is_read_from_files_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, base_json={"service_name": "forms", "cache": {"ttl": "5s"}})
    monkeypatch.chdir(tmp_path)
    for key in ("SERVICE_NAME", "ENVIRONMENT", "CONFIG_DIR"):
        monkeypatch.delenv(key, raising=False)
    assert read_from_env(Config).service_name == "forms"


def test_other_files_of_a_folder_named_config_do_not_matter(tmp_path: Path) -> None:
    write(
        tmp_path,
        __init___py="raise SystemExit",
        settings_json="not JSON",
        logging_yaml="a: [",
        base_py="x = 1",
        deep__module__base_json={"log_level": "warn"},
        templates__logging_yaml="\t",
    )
    (tmp_path / "config" / "..2026_11_21").mkdir()
    (tmp_path / "config" / "..2026_11_21" / "base.json").write_text("half")
    (tmp_path / "config" / ".base.json").write_text("half")
    configuration = read(tmp_path, {"ENVIRONMENT": "my-laptop"})
    assert configuration[Config].log_level == "info"
    assert configuration.unknown == ()


def test_a_file_named_config_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[section]")
    assert read(tmp_path)[Config].log_level == "info"


def mounted(folder: Path, version: str, **files: str) -> None:
    """Write the folder as the kubelet does: a folder for the version, and a link that is renamed to it."""
    inner = folder / f"..{version}"
    inner.mkdir(parents=True)
    for name, text in files.items():
        (inner / name.replace("_", ".")).write_text(text)
        if not (folder / name.replace("_", ".")).is_symlink():
            (folder / name.replace("_", ".")).symlink_to(Path("..data") / name.replace("_", "."))
    (folder / "..data_tmp").symlink_to(f"..{version}")
    (folder / "..data_tmp").rename(folder / "..data")


def test_a_mounted_configmap_is_read_from_one_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "config"
    mounted(folder, "one", base_json='{"database-timeout": "1s"}', production_json='{"database-max-open-conns": 1}')
    environ = {"ENVIRONMENT": "production"}
    assert read(tmp_path, environ)[Database] == Database(wait=1.0, conns=1)
    parse, swaps = files_module.parse_bytes, iter(["two", "three"])

    def swap_after_the_first_file(content: bytes, **rest: object) -> object:
        if version := next(swaps, None):
            wait, conns = {"two": (2, 2), "three": (3, 3)}[version]
            texts = {"base_json": f'{{"database-timeout": "{wait}s"}}'}
            mounted(folder, version, **texts, production_json=f'{{"database-max-open-conns": {conns}}}')
        return parse(content, **rest)  # type: ignore[arg-type]  # the arguments pass through

    monkeypatch.setattr(files_module, "parse_bytes", swap_after_the_first_file)
    assert read(tmp_path, environ)[Database] == Database(wait=3.0, conns=3)


def test_references_are_expanded_with_what_stands_above_the_files(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HOST=db.local\nUSER_PART=${NAME:-app}\n")
    text = (
        "dsn: postgresql://${USER_PART}:${PASSWORD}@${HOST:-localhost}/x\nhosts: ['${HOST}', '${NONE:-b}', '$${c}']\n"
    )
    write(tmp_path, database__base_yaml=text)
    database = read(tmp_path, {"PASSWORD": "${hunter2"})[Database]
    assert database.dsn.reveal() == "postgresql://app:${hunter2@db.local/x"
    assert database.hosts == ("db.local", "b", "${c}")


def test_a_file_may_name_the_file_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("hunter2\n")
    write(tmp_path, database__base_toml="dsn_file = '${WHERE:-dsn}'")
    configuration = read(tmp_path)
    assert configuration[Database].dsn.reveal() == "hunter2"
    assert configuration.explain("DATABASE_DSN").entry.origin == (
        "dsn (DATABASE_DSN_FILE in config/database/base.toml line 1)"
    )


def test_null_sets_a_variable_to_nothing(tmp_path: Path) -> None:
    write(tmp_path, base_json={"database": {"hook": "https://h"}}, production_json={"database": {"hook": None}})
    assert read(tmp_path, {"ENVIRONMENT": "production"})[Database].hook is None
    assert read(tmp_path)[Database].hook == "https://h"


def test_a_variable_may_be_a_table_of_others_too(tmp_path: Path) -> None:
    write(tmp_path, base_yaml="database:\n  tls:\n    ca: /ca.pem\nDATABASE_TLS: yes\n")
    database = read(tmp_path)[Database]
    assert database.tls is True and database.ca == Path("/ca.pem")
