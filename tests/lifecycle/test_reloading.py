"""Reloads of a running process: who asks for them, what is joined, spread and taken back, and where it is seen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest

from eggycore import CheckFailed, ConfigRefused, HealthCheck, Initializer, Runtime, Settings, env, hookimpl
from eggycore.config import Config, ReloadResult, Secret
from eggycore.config.reload import Outcome
from eggycore.config.sources import Layer
from eggycore.config.telling import ListenerOverran
from eggycore.diagnostics import diagnose, explain, render
from eggycore.probation import ReadinessLost, UndoneBefore
from eggycore.reloading import ReloadTooLate
from eggycore.testing import Running, running
from eggycore.types import Change


class Limits(Settings):
    limit: int = env("LIMIT", default=1, ge=1, reload=True, doc="More than 9 is too much for the check.")
    colour: str = env("COLOUR", default="blue", reload=True, doc="What the check does not look at.")
    cost: int = env("COST", default=1, reload=True, costly=True, doc="What costs something to change.")
    place: str = env("PLACE", default="here", doc="What only changes with a restart.")
    secret: Secret[str] = env("LIMIT_SECRET", default="a", reload=True, doc="What nobody may see.")


class App:
    """Keeps what it is told, holds a reload up when asked to, and has a check that some limits turn red."""

    def __init__(self) -> None:
        self.told: list[tuple[set[str], bool, int]] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.is_red = False

    def turn_red(self) -> None:
        self.is_red = True
        self.runtime.health.look_again("limits")

    @hookimpl
    def register_settings(self) -> type[Settings]:
        return Limits

    @hookimpl
    def register_health_checks(self, runtime: Runtime) -> HealthCheck:
        def check() -> None:
            if self.is_red or runtime.config[Limits].limit > 9:
                raise CheckFailed("too much", certain=True)

        self.runtime = runtime
        return HealthCheck(name="limits", check=check)  # looked at again when something changes, not at short intervals

    @hookimpl
    def check_config(self, change: Change) -> None:
        if change.new[Limits].colour == "red":
            raise ConfigRefused("red is refused")

    @hookimpl
    async def config_changed(self, change: Change) -> None:
        self.told.append((set(change.keys), change.inverse, change.new[Limits].limit))
        self.runtime.health.look_again("limits")
        await self.goes_on.wait()


class Log:
    """In place of the log: keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, message: str, **fields: Any) -> None:
        self.lines.append(("info", message, fields))

    def warn(self, message: str, **fields: Any) -> None:
        self.lines.append(("warn", message, fields))

    def error(self, message: str, **fields: Any) -> None:
        self.lines.append(("error", message, fields))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    log = Log()
    monkeypatch.setattr("eggycore.reload_record.log", log)
    return log.lines


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.002)


def laid(**values: str) -> list[Layer]:
    return [Layer("ConfigMap limits", values)]


@asynccontextmanager
async def serving(app: App | None = None, folder: Path | None = None, **settings: str) -> AsyncIterator[Running]:
    async with running(app or App(), folder=folder, settings=settings) as service:
        yield service


def outcome(result: ReloadResult | None) -> tuple[str, set[str]]:
    """How it ended, and what differed."""
    assert result is not None
    return result.outcome, set(result.changed)


def sample(runtime: Runtime, name: str) -> dict[tuple[str, ...], float]:
    family = next(family for family in runtime.metrics.collect() if family.name == name)
    return {one.labels: one.value for one in family.samples}


# --- who asks, and what is joined


async def test_requests_that_come_while_a_reload_goes_on_share_the_one_after_it(tmp_path: Path, lines: Any) -> None:
    app = App()
    async with serving(app, tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT=2\n")
        app.goes_on.clear()
        first = asyncio.create_task(service.runtime.reload(by="first"))
        await until(lambda: app.told)
        later = [asyncio.create_task(service.runtime.reload(by=name)) for name in ("a", "b", "a")]
        service.runtime.request_reload()
        (tmp_path / ".env").write_text("LIMIT=3\n")
        await asyncio.sleep(0)
        app.goes_on.set()
        results = [await task for task in (first, *later)]
        assert [result.generation for result in results] == [2, 3, 3, 3]
        assert [limit for _, _, limit in app.told] == [2, 3]
        assert [fields["by"] for _, _, fields in lines] == ["first", "SIGHUP, a, b"]


async def test_a_plugin_that_hangs_is_named_and_then_cut_and_the_next_reload_goes_on(
    tmp_path: Path, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[dict[str, Any]] = []
    monkeypatch.setattr("eggycore.reloading.SLOW_AFTER", 0.05)
    monkeypatch.setattr("eggycore.reloading.LONGEST", 0.3)
    monkeypatch.setattr("eggycore.reloading.log.warn", lambda message, **fields: warned.append(fields))
    app = App()
    async with serving(app, tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT=2\n")
        app.goes_on.clear()
        hung = await service.runtime.reload()
        assert (hung.outcome, hung.blamed) == ("undone", "app App")
        assert isinstance(hung.error, ListenerOverran)
        assert [(fields["step"], fields["seconds"]) for fields in warned] == [("config_changed of app App", 0.05)]
        assert "await self.goes_on.wait()" in warned[0]["stack"]
        assert service.runtime.health.report_dict()["checks"] == {"configuration": "DEGRADED", "limits": "OK"}
        app.goes_on.set()
        assert (await service.runtime.reload()).outcome == "applied"
        assert service.runtime.health.report_dict()["checks"] == {"limits": "OK"}


async def test_plain_functions_are_told_in_the_same_step_as_the_swap(tmp_path: Path) -> None:
    class Plain(App):
        @hookimpl
        def config_changed(self, change: Change) -> None:
            self.told.append((set(change.keys), change.inverse, change.new[Limits].limit))

    app = Plain()
    async with serving(app, tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT=2\n")
        reload = asyncio.create_task(service.runtime.reload())
        await until(lambda: service.runtime.config[Limits].limit == 2)
        assert app.told == [({"LIMIT"}, False, 2)]
        await reload


async def test_whoever_is_cancelled_leaves_the_reload_to_the_others(tmp_path: Path) -> None:
    app = App()
    async with serving(app, tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT=2\n")
        app.goes_on.clear()
        asked = asyncio.create_task(service.runtime.reload())
        await until(lambda: app.told)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        app.goes_on.set()
        await until(lambda: service.runtime.reload_status.last)
        assert service.runtime.config[Limits].limit == 2


async def test_a_reload_logs_one_line_that_names_what_waits(tmp_path: Path, lines: Any) -> None:
    async with serving(folder=tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT=2\nPLACE=there\nLIMIT_SECRET=hidden\n")
        await service.runtime.reload(by="the management endpoint")
        assert lines == [
            (
                "info",
                "configuration applied",
                {
                    "by": "the management endpoint",
                    "generation": 2,
                    "changed": ["LIMIT", "LIMIT_SECRET"],
                    "pending_restart": ["PLACE"],
                    "blamed": None,
                    "stranded": None,
                    "reason": None,
                },
            )
        ]


async def test_a_refused_reload_says_who_refused_it_and_why(tmp_path: Path, lines: Any) -> None:
    async with serving(folder=tmp_path) as service:
        (tmp_path / ".env").write_text("COLOUR=red\n")
        await service.runtime.reload()
        level, message, fields = lines[0]
        assert (level, message, fields["blamed"]) == ("error", "configuration refused", "app App")
        assert fields["reason"] == (
            "The new configuration was refused, and the old one stays.\n"
            "  cause:  Red is refused.\n"
            "  action: Take the change back, or restart with it."
        )


async def test_the_status_tells_of_the_last_reload(tmp_path: Path) -> None:
    async with serving(folder=tmp_path) as service:
        before = service.runtime.reload_status
        assert (before.generation, before.last, before.by, before.at) == (1, None, "", None)
        (tmp_path / ".env").write_text("LIMIT=2\nPLACE=there\n")
        result = await service.runtime.reload(by="a test")
        status = service.runtime.reload_status
        assert status.last is result
        assert (status.generation, status.by, set(status.pending)) == (2, "a test", {"PLACE"})
        assert status.at is not None
        assert status.on_probation
        assert status.scheduled_at is None


async def test_nothing_is_taken_over_once_the_process_stops(tmp_path: Path) -> None:
    app = App()
    async with serving(app, tmp_path, SHUTDOWN_DRAIN_DELAY="0.2s") as service:
        (tmp_path / ".env").write_text("LIMIT=2\n")
        service.runtime.request_stop()
        await service.runtime.draining.wait()
        asked = await service.runtime.reload()
        laid_over = await service.runtime.overlay("map", laid(LIMIT="3"))
        assert asked.outcome == laid_over.outcome == "refused"
        assert isinstance(asked.error, ReloadTooLate)
        assert render(diagnose(asked.error)) == (
            "The configuration is not taken over any more.\n"
            "  cause:  The process is stopping.\n"
            "  action: Nothing: the next start reads it."
        )
        assert app.told == []


async def test_a_reload_that_is_cut_by_the_stop_says_so_to_whoever_waits(tmp_path: Path) -> None:
    app = App()
    async with serving(app, tmp_path) as service:
        (tmp_path / ".env").write_text("LIMIT=2\n")
        app.goes_on.clear()
        asked = asyncio.create_task(service.runtime.reload())
        await until(lambda: app.told)
        await service.stop()
        assert isinstance((await asked).error, ReloadTooLate)
        assert service.runtime.config[Limits].limit == 1


# --- overlays


async def test_an_overlay_wins_over_the_environment_until_it_is_taken_back(tmp_path: Path) -> None:
    async with serving(LIMIT="2") as service:
        laid_over = await service.runtime.overlay("map", laid(LIMIT="3", COLOUR="green"))
        assert outcome(laid_over) == ("applied", {"LIMIT", "COLOUR"})
        await service.runtime.overlay("other", [Layer("ConfigMap other", {"LIMIT": "4"})])
        assert service.runtime.config[Limits].limit == 4
        assert service.runtime.config.explain("LIMIT").entry.origin == "ConfigMap other"
        await service.runtime.overlay("other", [])
        assert service.runtime.config[Limits].limit == 3
        await service.runtime.overlay("map", [])
        assert service.runtime.config[Limits] == Limits(limit=2)


async def test_an_overlay_that_is_refused_is_read_again_by_the_next_reload(tmp_path: Path) -> None:
    async with serving(folder=tmp_path) as service:
        assert (await service.runtime.overlay("map", laid(LIMIT="many"))).outcome == "refused"
        (tmp_path / ".env").write_text("COLOUR=green\n")
        assert (await service.runtime.reload()).outcome == "refused"
        assert (await service.runtime.overlay("map", laid(LIMIT="5"))).changed == {"LIMIT", "COLOUR"}


async def test_what_an_overlay_may_not_set_degrades_health_until_it_is_gone(lines: Any) -> None:
    async with serving() as service:
        result = await service.runtime.overlay("map", laid(LIMIT="2", PLACE="elsewhere", COLUOR="green"))
        assert outcome(result) == ("applied", {"LIMIT"})
        assert result.ignored == (
            "PLACE, set in ConfigMap limits, is ignored: it only changes with a restart.",
            "COLUOR, set in ConfigMap limits, is ignored: nobody declares it. Did you mean 'COLOUR'?",
        )
        assert [message for level, message, _ in lines if level == "warn"] == list(result.ignored)
        health = service.runtime.health
        assert health.report_dict()["checks"] == {"configuration": "DEGRADED", "limits": "OK"}
        await service.runtime.overlay("map", laid(LIMIT="3", PLACE="elsewhere", COLUOR="green"))
        assert len([message for level, message, _ in lines if level == "warn"]) == 2, "each is told once"
        again = await service.runtime.overlay("map", laid(LIMIT="3"))
        assert again.outcome == "unchanged"
        assert service.runtime.config.ignored == ()
        assert health.report_dict()["checks"] == {"limits": "OK"}


async def test_an_overlay_may_be_laid_while_initializers_open() -> None:
    class Opening(App):
        result: ReloadResult | None = None

        @hookimpl
        def init_infra(self, runtime: Runtime) -> Initializer[None]:
            @asynccontextmanager
            async def open_map() -> AsyncIterator[None]:
                self.result = await runtime.overlay("map", laid(LIMIT="2", COST="7"))
                yield

            return Initializer(name="map", open=open_map)

    app = Opening()
    async with serving(app, CONFIG_RELOAD_SPREAD="1h") as service:
        assert outcome(app.result) == ("applied", {"LIMIT", "COST"}), "nothing is spread before READY"
        assert service.runtime.config[Limits].cost == 7
        assert not service.runtime.reload_status.on_probation


# --- probation


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
