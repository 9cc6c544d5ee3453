"""Importing the configuration is cheap: what parses is imported when there is something to parse."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("environs", "marshmallow", "dotenv", "hashlib", "eggycore.config.reload", "eggycore.config.reference")


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


def test_the_names_that_come_later_are_found_and_others_are_not() -> None:
    code = (
        "import eggycore.config\n"
        "assert all(getattr(eggycore.config, name) for name in eggycore.config.__all__)\n"
        "assert not hasattr(eggycore.config, 'nothing')"
    )
    assert {"eggycore.config.reload", "eggycore.config.reference"} <= loaded_after(code)
