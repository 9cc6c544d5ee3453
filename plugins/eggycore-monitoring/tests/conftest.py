"""What the monitoring tests share: the parts of a runtime that metrics are read from, and promtool."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from eggycore.metrics import Registry
from eggycore.testing import FakeClock
from eggycore.timeline import Timeline


@pytest.fixture
def runtime() -> Any:
    """As much of a runtime as `MetricsService` reads."""
    records = [
        SimpleNamespace(name="monitoring", dist="eggycore-monitoring", version="0.1.0", state="active"),
        SimpleNamespace(name="mail", dist="acme-mail", version="2.1", state="broken"),
        SimpleNamespace(name="cache", dist="eggycore-cache", version="0.1.0", state="not selected"),
    ]
    return SimpleNamespace(
        metrics=Registry(),
        config=SimpleNamespace(digest=lambda: "0123456789ab", generation=3),
        timeline=Timeline(clock=FakeClock()),
        plugins=SimpleNamespace(records=records),
    )


@pytest.fixture(scope="session")
def promtool() -> Callable[[bytes], str]:
    """Runs `promtool check metrics` and returns all that it has to say: "" when it accepts them."""
    path = shutil.which("promtool")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is missing. Install it: apt-get install prometheus")
        pytest.skip("promtool is not installed (Debian package prometheus)")

    def check(metrics: bytes) -> str:
        done = subprocess.run([path, "check", "metrics"], input=metrics, capture_output=True, check=False, timeout=60)
        return "" if done.returncode == 0 else f"exit {done.returncode}: {(done.stdout + done.stderr).decode()}"

    return check
