"""What a distribution imports, it declares: nothing works only because another package happens to bring it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECTS = {"eggycore": ROOT} | {path.parent.name: path.parent for path in ROOT.glob("plugins/*/pyproject.toml")}
BROUGHT = {
    "multidict": "the type of aiohttp's headers, a part of its API",
    "python-dotenv": "environs reads .env with it, and so do we, to know the line of each value",
}


@pytest.mark.parametrize("name", PROJECTS)
def test_everything_imported_is_declared(name: str) -> None:
    package = name.replace("-", "_")
    graph = grimp.build_graph(
        package, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    imported = {module.partition(".")[0] for module in graph.modules} - sys.stdlib_module_names - {package}
    known = _declared("eggycore") | _declared(name) | set(BROUGHT)
    bringers = packages_distributions()
    assert [module for module in sorted(imported) if known.isdisjoint(_names(bringers.get(module, [module])))] == []


def _declared(name: str) -> set[str]:
    """Requirements of a project and its extras; what the core requires is a part of what it offers plugins."""
    project = tomllib.loads((PROJECTS[name] / "pyproject.toml").read_text())["project"]
    extras = (lines for extra, lines in project.get("optional-dependencies", {}).items() if extra != "dev")
    lines = chain(project["dependencies"], *extras)
    return _names(Requirement(line).name for line in lines)


def _names(names: Iterable[str]) -> set[str]:
    return {str(canonicalize_name(name)) for name in names}
