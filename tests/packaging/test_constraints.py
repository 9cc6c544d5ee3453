"""constraints.txt pins what is installed, and says nothing about where it comes from."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.requirements import closure

ROOT = Path(__file__).parents[2]
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
PROJECTS = [ROOT, *(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")), ROOT / "sample_app"]


def _names_of_projects() -> list[str]:
    return [tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"] for project in PROJECTS]


def test_every_constraint_pins_one_version() -> None:
    for line in LINES:
        requirement = Requirement(line)
        assert [spec.operator for spec in requirement.specifier] == ["=="], line
        assert requirement.url is None, line


def test_the_constraints_are_sorted_and_without_repeats() -> None:
    names = [canonicalize_name(Requirement(line).name) for line in LINES]
    assert names == sorted(set(names))


def test_everything_that_is_required_is_pinned_at_the_version_that_runs() -> None:
    pinned = {str(canonicalize_name(Requirement(line).name)): str(Requirement(line).specifier)[2:] for line in LINES}
    own = _names_of_projects()
    running = {name: version(name) for name in closure(["eggycore[dev]", *own]) - set(own)}
    assert {name: number for name, number in running.items() if pinned.get(name) != number} == {}


@pytest.mark.parametrize("pattern", ["Makefile", "constraints.txt", ".ci/run", "benchmarks/*.txt"])
def test_no_file_says_where_packages_come_from(pattern: str) -> None:
    for file in ROOT.glob(pattern):
        assert not re.search(r"://|index|find-links", file.read_text()), file.name
