"""Where a reload is seen, and what the core takes over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import pytest

from eggycore import hookimpl
from eggycore.config import Config
from eggycore.config.reload import Outcome
from eggycore.diagnostics import diagnose
from eggycore.probation import ReadinessLost
from eggycore.types import Change
from tests.lifecycle.reloaded import App, Limits, laid, sample, serving


async def test_reloads_are_counted_and_their_last_outcome_is_measured(tmp_path: Path) -> None:
    async with serving(folder=tmp_path) as service:
        counts = sample(service.runtime, "config_reloads_total")
        assert counts == {(outcome,): 0.0 for outcome in get_args(Outcome)}
        assert sample(service.runtime, "config_last_reload_success") == {(): 1.0}
        (tmp_path / ".env").write_text("LIMIT=2\nPLACE=there\n")
        await service.runtime.reload()
        assert sample(service.runtime, "config_pending_restart") == {(): 1.0}
        (tmp_path / ".env").write_text("LIMIT=no\n")
        await service.runtime.reload()
        counts = sample(service.runtime, "config_reloads_total")
        assert (counts["applied",], counts["refused",]) == (1.0, 1.0)
        assert sample(service.runtime, "config_last_reload_success") == {(): 0.0}
        (tmp_path / ".env").write_text("LIMIT=2\n")
        await service.runtime.reload()
        assert sample(service.runtime, "config_last_reload_success") == {(): 1.0}
        at = service.runtime.reload_status.at
        assert at is not None
        assert sample(service.runtime, "config_reload_timestamp_seconds") == {(): at.timestamp()}


async def test_a_failed_reload_degrades_health_until_the_next_good_one_and_keeps_secrets(tmp_path: Path) -> None:
    async with serving(folder=tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT_SECRET=not-for-you\nLIMIT=none\n")
        await service.runtime.reload()
        report = service.runtime.health.report_dict(verbose=True)
        assert report["status"] is True, "the last good configuration serves"
        details = report["details"]
        assert isinstance(details, dict)
        assert details["configuration"]["reason"] == (
            "the last reload was refused: The configuration has 1 problem. LIMIT 'none', .env line 2, is wrong:"
            " not a whole number. Set it to a whole number of at least 1."
        )
        assert "not-for-you" not in str(report)
        (tmp_path / ".env").write_text("LIMIT_SECRET=not-for-you\n")
        await service.runtime.reload()
        assert service.runtime.health.report_dict()["checks"] == {"limits": "OK"}


class Careless(App):
    """Says a secret in what one of its hooks raises."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        self.hook = hook

    @hookimpl
    def check_config(self, change: Change) -> None:
        if self.hook == "check_config":
            raise RuntimeError(f"no connection with {change.new[Limits].secret.reveal()}")

    @hookimpl
    async def config_changed(self, change: Change) -> None:
        raise RuntimeError(f"no connection with {change.new[Limits].secret.reveal()}")


@pytest.mark.parametrize("hook", ["check_config", "config_changed"])
async def test_health_tells_the_type_of_what_a_plugin_raised_and_not_its_text(tmp_path: Path, hook: str) -> None:
    async with serving(Careless(hook), tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT_SECRET=not-for-you\n")
        result = await service.runtime.reload()
        details: Any = service.runtime.health.report_dict(verbose=True)["details"]
        assert details["configuration"]["reason"] == (
            f"the last reload was {result.outcome}: App Careless failed in {hook}. RuntimeError was raised."
            " The log of the process says more."
        )


async def test_health_tells_what_is_wrong_with_a_secret_and_masks_nothing_of_that(tmp_path: Path) -> None:
    async with serving(folder=tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT_SECRET=a\nLIMIT_SECRET_FILE=b\n")
        await service.runtime.reload()
        details: Any = service.runtime.health.report_dict(verbose=True)["details"]
        assert details["configuration"]["reason"] == (
            "the last reload was refused: The configuration has 1 problem. LIMIT_SECRET, .env line 1 and in .env line"
            " 2, is wrong: set twice, by LIMIT_SECRET and by LIMIT_SECRET_FILE. Remove LIMIT_SECRET or"
            " LIMIT_SECRET_FILE."
        )


# --- what the core takes over


async def test_the_budgets_of_the_way_down_are_those_of_the_moment_it_begins() -> None:
    async with serving(SHUTDOWN_TIMEOUT="30s") as service:
        await service.runtime.overlay("map", laid(SHUTDOWN_TIMEOUT="20s", SHUTDOWN_DRAIN_DELAY="300ms"))
        told: list[float] = []
        on_falling = service.runtime.launcher.on_falling

        def fall(seconds: float) -> None:
            told.append(seconds)
            on_falling(seconds)

        service.runtime.launcher.on_falling = fall
        began = asyncio.get_running_loop().time()
        await service.stop()
        assert told == [20.0]
        assert asyncio.get_running_loop().time() - began >= 0.3
        assert service.runtime.config[Config].shutdown_drain_delay == 0.3


def test_the_errors_say_what_to_do() -> None:
    lost = ReadinessLost(("database", "limits"), ("COLOUR", "LIMIT"), 5)
    assert str(lost) == "Readiness was lost within 5 s of a new configuration, and the old one is back."
    assert diagnose(lost).cause == "Red: database, limits. Changed: COLOUR, LIMIT."
