"""Distributions that tests put on a path of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from eggycore.plugins import Plugins, Selection

FAKES = Path(__file__).parents[1] / "data" / "fake-plugins"


@pytest.fixture
def fakes() -> Path:
    """The folder that holds one folder per fake plugin."""
    return FAKES


@pytest.fixture
def plugins_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Plugins]]:
    """Makes Plugins that see these fake distributions and no other, in an empty folder, without an app."""
    before = sys.modules.copy()

    def make(*folders: str, path: Sequence[str] = (), **options: object) -> Plugins:
        search = [str(FAKES / folder) for folder in folders] + list(path)
        for entry in search:
            monkeypatch.syspath_prepend(entry)
        options = {"selection": Selection(), "app": object(), "folder": tmp_path, "environ": {}, **options}
        return Plugins(path=search, **options)

    yield make
    for name in sys.modules.keys() - before.keys():
        if name.startswith("eggy_"):
            del sys.modules[name]
