"""A costly change that comes by itself is taken over at a moment of its own."""

from __future__ import annotations

import random

import pytest

from tests.lifecycle.reloaded import App, Limits, laid, outcome, serving, until


async def test_a_costly_change_that_comes_by_itself_waits_for_its_turn() -> None:
    app = App()
    async with serving(app, CONFIG_RELOAD_SPREAD="1h") as service:
        waits = await service.runtime.overlay("map", laid(COST="2", LIMIT="2"))
        assert (*outcome(waits), waits.generation) == ("scheduled", {"COST", "LIMIT"}, 1)
        assert service.runtime.reload_status.scheduled_at is not None
        assert app.told == []
        assert (await service.runtime.overlay("map", laid(COST="3"))).outcome == "scheduled"
        by_hand = await service.runtime.reload()
        assert (by_hand.outcome, service.runtime.config[Limits].cost) == ("applied", 3)
        assert service.runtime.reload_status.scheduled_at is None


async def test_a_costly_change_is_read_again_and_taken_over_when_its_turn_has_come() -> None:
    app = App()
    async with serving(app, CONFIG_RELOAD_SPREAD="200ms") as service:
        await service.runtime.overlay("map", laid(COST="2"))
        await until(lambda: service.runtime.config[Limits].cost == 2)
        assert service.runtime.reload_status.by == "ConfigMap limits"
        assert service.runtime.reload_status.scheduled_at is None


async def test_a_costly_change_that_is_taken_back_meanwhile_waits_no_longer() -> None:
    async with serving(CONFIG_RELOAD_SPREAD="1h") as service:
        await service.runtime.overlay("map", laid(COST="2"))
        cheap = await service.runtime.overlay("map", laid(COLOUR="green"))
        assert outcome(cheap) == ("applied", {"COLOUR"})
        assert service.runtime.reload_status.scheduled_at is None


async def test_the_moments_of_replicas_are_spread_over_the_whole_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    class Dice(random.Random):
        def uniform(self, a: float, b: float) -> float:
            asked.append((a, b))
            return super().uniform(a, b)

    monkeypatch.setattr("eggycore.reloading.random.Random", Dice)
    async with serving(CONFIG_RELOAD_SPREAD="90s") as service:
        await service.runtime.overlay("map", laid(COST="2"))
    assert asked == [(0, 90)]


# --- where it is seen
