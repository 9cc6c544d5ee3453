"""What the tests of eggycore.web share."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture
def python_that_imported():
    """A function: the top-level modules that a fresh Python has loaded after importing one."""

    def loaded(module: str) -> set[str]:
        code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
        return set(
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        )

    return loaded
