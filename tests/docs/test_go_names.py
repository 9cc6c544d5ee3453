"""Every name of ours on the page of Go names exists."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "go-names.md"
ROWS = [line.split("|")[2].strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("ours", ROWS)
def test_the_names_exist(ours: str) -> None:
    owner: Any = None
    for name in re.findall(r"`(?:await )?([A-Za-z_][\w.]*)", ours):
        if "." in name:
            owner = _resolve(name)
        else:
            assert hasattr(owner, name) or f"self.{name}" in inspect.getsource(owner), f"{owner} has no {name}"


def _resolve(dotted: str) -> Any:
    """A module, or something in one, or in something in one."""
    home, _, name = dotted.rpartition(".")
    try:
        return import_module(dotted)
    except ModuleNotFoundError:
        return getattr(_resolve(home), name)
