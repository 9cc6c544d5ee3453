"""Reloads of a whole runtime: who asks and is joined, overlays, and where it is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from eggycore import Initializer, Runtime, hookimpl
from eggycore.config import ReloadResult
from eggycore.config.sources import Layer
from eggycore.config.telling import ListenerOverran
from eggycore.diagnostics import diagnose, render
from eggycore.reloading import ReloadTooLate
from eggycore.types import Change
from tests.lifecycle.reloaded import App, Limits, laid, outcome, serving, until


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
