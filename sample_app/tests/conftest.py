"""The sample app on free ports, with a database of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from eggycore.testing import Running

if getattr(sys.modules.get("sample_app"), "__file__", None) is None:
    # pytest has named this module after its folders, and so put an empty namespace in the place of the app's package.
    sys.modules.pop("sample_app", None)
    importlib.import_module("sample_app")


@pytest.fixture
def serve(run_app: Callable[..., Awaitable[Running]], tmp_path: Path) -> Callable[..., Awaitable[Running]]:
    """Start the sample app with db and cache; keyword arguments are settings."""

    async def start(**settings: Any) -> Running:
        settings = {"DATABASE_DSN": f"sqlite:///{tmp_path}/forms.db", **settings}
        return await run_app("sample_app", plugins=["db", "cache"], settings=settings)

    return start
