"""A change that costs readiness is taken back, and when it is tried again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from eggycore.diagnostics import diagnose, explain, render
from eggycore.probation import UndoneBefore
from tests.lifecycle.reloaded import App, Limits, laid, outcome, serving, until


async def test_a_change_that_costs_readiness_is_taken_back(tmp_path: Path, lines: Any) -> None:
    app = App()
    async with serving(app, tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT=99\nCOLOUR=green\n")
        assert (await service.runtime.reload(by="SIGHUP")).outcome == "applied"
        await until(lambda: len(app.told) == 2)
        await until(lambda: len(lines) == 2)
        assert app.told == [({"LIMIT", "COLOUR"}, False, 99), ({"LIMIT", "COLOUR"}, True, 1)]
        assert service.runtime.config.generation == 1
        assert service.runtime.config[Limits] == Limits()
        status = service.runtime.reload_status
        assert status.last is not None
        assert outcome(status.last) == ("undone", {"LIMIT", "COLOUR"})
        assert not status.on_probation
        assert status.last.error is not None
        assert explain(status.last.error) == (
            "Readiness was lost within 30 s of a new configuration, and the old one is back.\n"
            "  cause:  Red: limits. Changed: COLOUR, LIMIT.\n"
            "  action: Correct what was changed; SIGHUP or the management endpoint has the same values tried again."
        )
        assert [(level, message, fields["by"]) for level, message, fields in lines] == [
            ("info", "configuration applied", "SIGHUP"),
            ("error", "configuration undone", "SIGHUP"),
        ]
        await until(lambda: service.runtime.health.probe("ready").http_status == 200)
        assert service.runtime.health.report_dict()["checks"] == {"configuration": "DEGRADED", "limits": "OK"}


async def test_what_was_taken_back_is_tried_again_by_hand_only_until_it_changes(tmp_path: Path) -> None:
    app = App()
    async with serving(app, tmp_path) as service:
        await service.runtime.overlay("map", laid(LIMIT="99"))
        await until(lambda: app.told[-1][1])
        again = await service.runtime.overlay("map", laid(LIMIT="99", COLOUR="green"))
        assert again.outcome == "refused"
        assert isinstance(again.error, UndoneBefore)
        assert render(diagnose(again.error)) == (
            "The new configuration holds values that were taken back before.\n"
            "  cause:  With LIMIT as set now, readiness was lost: limits.\n"
            "  action: Change them, or have them tried again with SIGHUP or by the management endpoint."
        )
        assert len(app.told) == 2
        await until(lambda: service.runtime.health.probe("ready").http_status == 200)
        by_hand = await service.runtime.reload()
        assert outcome(by_hand) == ("applied", {"LIMIT", "COLOUR"})
        await until(lambda: len(app.told) == 4)
        changed = await service.runtime.overlay("map", laid(LIMIT="8", COLOUR="green"))
        assert changed.outcome == "applied"


async def test_what_was_taken_back_in_vain_is_taken_over_again_for_good(
    monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    monkeypatch.setattr("eggycore.reloading.PROBATION", 0.3)
    app = App()
    async with serving(app) as service:
        await service.runtime.overlay("map", laid(LIMIT="5"))
        app.turn_red()  # by something that the configuration has no part in
        await until(lambda: len(app.told) == 3)
        assert [(inverse, limit) for _, inverse, limit in app.told] == [(False, 5), (True, 1), (False, 5)]
        await until(lambda: len(lines) == 3)
        assert [(message, fields["by"]) for _, message, fields in lines] == [
            ("configuration applied", "ConfigMap limits"),
            ("configuration undone", "ConfigMap limits"),
            ("configuration applied", "a return that has not helped"),
        ]
        assert not service.runtime.reload_status.on_probation


async def test_what_was_taken_back_is_tried_again_after_it_was_right_once() -> None:
    app = App()
    async with serving(app) as service:
        await service.runtime.overlay("map", laid(LIMIT="99"))
        await until(lambda: app.told[-1][1])
        assert (await service.runtime.overlay("map", [])).outcome == "unchanged"
        assert (await service.runtime.overlay("map", laid(LIMIT="99"))).outcome == "applied"


async def test_a_second_change_on_probation_keeps_the_configuration_that_was_proven() -> None:
    app = App()
    async with serving(app) as service:
        await service.runtime.overlay("map", laid(LIMIT="5"))
        await service.runtime.overlay("map", laid(LIMIT="5", COLOUR="green"))
        await service.runtime.overlay("map", laid(LIMIT="99", COLOUR="green"))
        await until(lambda: app.told[-1][1])
        assert app.told[-1] == ({"LIMIT", "COLOUR"}, True, 1)
        assert service.runtime.config[Limits] == Limits()
        assert service.runtime.config.generation == 1


async def test_a_change_that_was_well_for_its_time_stays_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eggycore.reloading.PROBATION", 0.05)
    app = App()
    async with serving(app) as service:
        await service.runtime.overlay("map", laid(LIMIT="5"))
        assert service.runtime.reload_status.on_probation
        await until(lambda: not service.runtime.reload_status.on_probation)
        app.turn_red()
        await until(lambda: service.runtime.health.red == ("limits",))
        assert service.runtime.config[Limits].limit == 5
        assert [inverse for _, inverse, _ in app.told] == [False]


async def test_a_change_that_has_stood_its_time_stays_though_others_came_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eggycore.reloading.PROBATION", 0.5)
    app = App()
    async with serving(app) as service:
        runtime = service.runtime
        await runtime.overlay("map", laid(LIMIT="5"))
        colours = 0
        async with asyncio.timeout(10):
            while runtime._started_reloads()._probation.proven.generation == 1:  # type: ignore[union-attr]  # on it
                colours += 1
                await runtime.overlay("map", laid(LIMIT="5", COLOUR=f"shade {colours}"))
                await asyncio.sleep(0.02)
        app.turn_red()
        await until(lambda: app.told[-1][1])
        assert app.told[-1] == ({"COLOUR"}, True, 5)
        assert runtime.config[Limits].limit == 5
        assert runtime.config[Limits].colour != f"shade {colours}"


async def test_who_was_red_before_the_change_is_not_on_probation() -> None:
    app = App()
    async with serving(app) as service:
        app.turn_red()
        await until(lambda: service.runtime.health.red)
        await service.runtime.overlay("map", laid(LIMIT="5"))
        assert not service.runtime.reload_status.on_probation
        assert service.runtime.config[Limits].limit == 5


async def test_a_drain_takes_nothing_back() -> None:
    app = App()
    async with serving(app) as service:
        await service.runtime.overlay("map", laid(LIMIT="5"))
        await service.stop()
        assert [inverse for _, inverse, _ in app.told] == [False]
        assert service.runtime.config[Limits].limit == 5


# --- spread
