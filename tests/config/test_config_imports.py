"""Importing the configuration is cheap: what parses is imported when there is something to parse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eggycore.config import Config, Sources, load

HEAVY = (
    "environs",
    "marshmallow",
    "dotenv",
    "hashlib",
    "tomllib",
    "yaml",
    "eggycore.config.documents",
    "eggycore.config.files",
    "eggycore.config.reload",
    "eggycore.config.reference",
)


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert loaded_after("import eggycore.config; eggycore.config.Config(service_name='a')") == set()


def test_a_configuration_made_in_code_needs_no_parser() -> None:
    code = (
        "from eggycore.config import Config, Sources, load\n"
        "load([], Sources({'PATH': '/bin'}, None), given=[Config(service_name='a')])"
    )
    assert loaded_after(code) == set()


def test_the_parser_is_imported_when_a_variable_is_set() -> None:
    code = "from eggycore.config import Config, read_from_env; read_from_env(Config, {'SERVICE_NAME': 'a'})"
    assert {"environs", "marshmallow"} <= loaded_after(code)


@pytest.mark.parametrize(
    ("name", "text", "parser"),
    [
        ("base.json", "{}", None),
        ("base.toml", "a = 1", "tomllib"),
        ("base.yaml", "a: 1", "yaml"),
        ("other.yaml", "", None),
    ],
)
def test_the_parser_of_a_format_is_imported_when_there_is_such_a_file(
    tmp_path: Path, name: str, text: str, parser: str | None
) -> None:
    code = (
        "from pathlib import Path\n"
        "from eggycore.config import Config, Sources, load\n"
        f"load([], Sources({{}}, Path({str(tmp_path)!r})), given=[Config(service_name='a')])"
    )
    assert loaded_after(code) == set()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / name).write_text(text)
    assert loaded_after(code) & {"tomllib", "yaml", "environs"} == ({parser} if parser else set())


def test_a_process_without_a_folder_of_files_looks_for_it_once(tmp_path: Path) -> None:
    asked: list[object] = []

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        if hearing and event in ("open", "os.scandir", "os.listdir"):
            asked.append(arguments[0])

    hearing = False
    sys.addaudithook(heard)  # it stays until the process ends, deaf
    hearing = True
    load([], Sources({}, tmp_path), given=[Config(service_name="a")])
    hearing = False
    assert asked == []


def test_the_names_that_come_later_are_found_and_others_are_not() -> None:
    code = (
        "import eggycore.config\n"
        "assert all(getattr(eggycore.config, name) for name in eggycore.config.__all__)\n"
        "assert not hasattr(eggycore.config, 'nothing')"
    )
    assert {"eggycore.config.reload", "eggycore.config.reference"} <= loaded_after(code)
