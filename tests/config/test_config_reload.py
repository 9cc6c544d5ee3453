"""A reload is a transaction: read, validated, asked about, swapped, told, and taken back when someone cannot follow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from eggycore.config import (
    Config,
    Configuration,
    DeclarationFailed,
    Declared,
    Listener,
    Reloader,
    Secret,
    Settings,
    Sources,
    env,
    load,
)
from eggycore.config.contents import content_digest
from eggycore.diagnostics import diagnose, render
from eggycore.errors import ConfigError, ConfigProblem, ConfigRefused
from eggycore.types import Change, Origin


class Pool(Settings):
    most: int = env("POOL_MOST", default=10, ge=1)
    idle: int = env("POOL_IDLE", default=2, ge=0, reload=True)
    token: Secret[str] = env("POOL_TOKEN", default="a", reload=True)

    def problems(self) -> Iterable[ConfigProblem]:
        if self.token.reveal() == "raise":
            raise RuntimeError
        if self.idle > self.most:
            yield ConfigProblem(key="POOL_IDLE", reason="more than POOL_MOST", action="Set it to at most POOL_MOST.")


POOL = Declared(Pool, Origin("db", "eggycore-db", "0.1.0"))
CORE = Declared(Config, Origin("eggycore", kind="core"))


class World:
    """A reloader over variables that a test sets, and listeners that keep what they are told."""

    def __init__(self, *names: str) -> None:
        self.environ: dict[str, str] = {}
        self.sources = Sources(self.environ, None)
        self.told: list[tuple[str, bool, int]] = []
        self.refusing: dict[str, Exception] = {}
        self.failing: dict[tuple[str, bool], BaseException] = {}
        self.reloader = Reloader(load([POOL], self.sources), [POOL], listeners=[self.listener(name) for name in names])

    def listener(self, name: str) -> Listener:
        def check(change: Change) -> None:
            assert self.reloader.current is change.old
            if name in self.refusing:
                raise self.refusing[name]

        async def changed(change: Change) -> None:
            assert self.reloader.current is change.new
            await asyncio.sleep(0)
            if (name, change.inverse) in self.failing:
                raise self.failing[name, change.inverse]
            self.told.append((name, change.inverse, change.new[Pool].idle))

        return Listener(name=name, check_config=check, config_changed=changed)

    @property
    def pool(self) -> Pool:
        return self.reloader.current[Pool]


async def test_a_reload_takes_over_what_may_change_and_lists_what_waits_for_a_restart() -> None:
    world = World("db", "cache")
    before = world.reloader.current
    world.environ.update(POOL_IDLE="5", POOL_MOST="20")
    result = await world.reloader.reload(world.sources)
    assert (result.outcome, result.generation) == ("applied", 2)
    assert result.changed == {"POOL_IDLE"}
    assert result.pending == world.reloader.pending == {"POOL_MOST"}
    assert world.pool == Pool(idle=5, most=10)
    assert before[Pool] == Pool(), "a held configuration never changes"
    assert world.told == [("db", False, 5), ("cache", False, 5)]
    assert world.reloader.current.explain("POOL_IDLE").entry.origin == "environment"
    assert world.reloader.current.explain("POOL_MOST").entry.origin == "default"


async def test_a_reload_without_a_difference_changes_nothing() -> None:
    world = World("db")
    before = world.reloader.current
    result = await world.reloader.reload(world.sources)
    assert (result.outcome, result.generation, result.pending) == ("unchanged", 1, frozenset())
    assert world.reloader.current is before
    assert world.told == []


async def test_what_waits_for_a_restart_no_longer_does_when_it_is_taken_back() -> None:
    world = World()
    world.environ["POOL_MOST"] = "20"
    assert (await world.reloader.reload(world.sources)).pending == {"POOL_MOST"}
    del world.environ["POOL_MOST"]
    assert (await world.reloader.reload(world.sources)).pending == frozenset()


async def test_a_secret_that_changes_is_taken_over() -> None:
    world = World("db")
    world.environ["POOL_TOKEN"] = "b"
    assert (await world.reloader.reload(world.sources)).changed == {"POOL_TOKEN"}
    assert world.pool.token == Secret("b")


async def test_a_wrong_configuration_is_refused_and_the_old_one_stays() -> None:
    world = World("db")
    world.environ["POOL_IDLE"] = "many"
    result = await world.reloader.reload(world.sources)
    assert (result.outcome, result.generation) == ("refused", 1)
    assert isinstance(result.error, ConfigError)
    assert world.pool == Pool()
    assert world.told == []


async def test_a_malformed_file_is_refused(tmp_path: Path) -> None:
    world = World("db")
    (tmp_path / ".env").write_text("POOL_IDLE\n")
    result = await world.reloader.reload(Sources({}, tmp_path))
    assert result.outcome == "refused"
    assert "line 1: no '=' after a name." in render(diagnose(result.error or KeyError()))


async def test_what_only_fits_a_value_that_waits_for_a_restart_is_refused() -> None:
    world = World("db")
    world.environ.update(POOL_IDLE="15", POOL_MOST="20")
    result = await world.reloader.reload(world.sources)
    assert result.outcome == "refused"
    assert world.pool == Pool()
    assert result.error is not None
    assert render(diagnose(result.error)) == (
        "The configuration has 1 problem.\n"
        "\n"
        "1. POOL_IDLE: more than POOL_MOST.\n"
        "     cause:  It was set in the environment, declared by plugin db (eggycore-db 0.1.0).\n"
        "     action: Set it to at most POOL_MOST. Or restart: POOL_MOST cannot change before."
    )


async def test_a_declaration_that_raises_refuses_the_reload() -> None:
    world = World("db")
    world.environ["POOL_TOKEN"] = "raise"
    result = await world.reloader.reload(world.sources)
    assert result.outcome == "refused"
    assert isinstance(result.error, DeclarationFailed)


@pytest.mark.parametrize("error", [ConfigRefused("the pool is in use"), ZeroDivisionError()])
async def test_one_listener_that_refuses_stops_the_reload_before_anyone_is_told(error: Exception) -> None:
    world = World("db", "cache")
    world.refusing["cache"] = error
    world.environ["POOL_IDLE"] = "5"
    result = await world.reloader.reload(world.sources)
    assert (result.outcome, result.generation, result.blamed, result.error) == ("refused", 1, "cache", error)
    assert world.pool == Pool()
    assert world.told == []


async def test_when_one_cannot_follow_those_told_before_get_the_inverse_in_reverse_order() -> None:
    world = World("db", "cache", "alerts", "last")
    error = world.failing["alerts", False] = OSError("no route")
    world.environ["POOL_IDLE"] = "5"
    result = await world.reloader.reload(world.sources)
    assert (result.outcome, result.generation, result.blamed) == ("undone", 1, "alerts")
    assert result.error is error
    assert result.stranded == ()
    assert world.pool == Pool()
    assert world.told == [("db", False, 5), ("cache", False, 5), ("cache", True, 2), ("db", True, 2)]


async def test_one_that_cannot_go_back_either_is_named_and_the_others_are_told() -> None:
    world = World("db", "cache", "alerts")
    world.failing["alerts", False] = OSError()
    lost = world.failing["cache", True] = OSError("gone")
    world.environ["POOL_IDLE"] = "5"
    result = await world.reloader.reload(world.sources)
    assert result.stranded == (("cache", lost),)
    assert world.told == [("db", False, 5), ("cache", False, 5), ("db", True, 2)]


async def test_a_generation_number_is_never_used_twice() -> None:
    world = World("db")
    world.failing["db", False] = OSError()
    world.environ["POOL_IDLE"] = "5"
    assert (await world.reloader.reload(world.sources)).generation == 1
    world.failing.clear()
    assert (await world.reloader.reload(world.sources)).generation == 3


async def test_a_reload_that_is_cancelled_half_way_takes_back_what_it_did() -> None:
    world = World("db", "cache")
    world.failing["cache", False] = asyncio.CancelledError()
    world.environ["POOL_IDLE"] = "5"
    with pytest.raises(asyncio.CancelledError):
        await world.reloader.reload(world.sources)
    assert world.pool == Pool()
    assert world.told == [("db", False, 5), ("db", True, 2)]


async def test_reloads_wait_for_each_other() -> None:
    world = World("db", "cache")
    world.environ["POOL_IDLE"] = "5"
    first = asyncio.ensure_future(world.reloader.reload(world.sources))
    second = asyncio.ensure_future(world.reloader.reload(Sources({"POOL_IDLE": "6"}, None)))
    assert [(await one).generation for one in (first, second)] == [2, 3]
    assert world.told == [("db", False, 5), ("cache", False, 5), ("db", False, 6), ("cache", False, 6)]


async def test_listeners_may_be_plain_functions_or_have_nothing_to_say() -> None:
    seen: list[frozenset[str]] = []
    listeners = [
        Listener(name="silent"),
        Listener(name="plain", config_changed=lambda change: seen.append(change.keys)),
    ]
    reloader = Reloader(load([POOL], Sources({}, None)), [POOL], listeners=listeners)
    assert (await reloader.reload(Sources({"POOL_IDLE": "5"}, None))).outcome == "applied"
    assert seen == [{"POOL_IDLE"}]


async def test_settings_made_in_code_do_not_change() -> None:
    mine = Pool(idle=7)
    configuration: Configuration = load([POOL], Sources({}, None), given=[mine])
    reloader = Reloader(configuration, [POOL], given=[mine])
    assert (await reloader.reload(Sources({"POOL_IDLE": "5"}, None))).outcome == "unchanged"
    assert reloader.current[Pool] is mine


async def test_settings_that_did_not_change_stay_the_same_object() -> None:
    sources = Sources({"SERVICE_NAME": "forms"}, None)
    reloader = Reloader(load([CORE, POOL], sources), [CORE, POOL])
    config = reloader.current[Config]
    await reloader.reload(Sources({"SERVICE_NAME": "forms", "POOL_IDLE": "5"}, None))
    assert reloader.current[Config] is config
    await reloader.reload(Sources({"SERVICE_NAME": "forms", "LOG_LEVEL": "debug"}, None))
    assert reloader.current[Config].log_level == "debug"


class Files(Settings):
    ca: Path | None = env("FILES_CA", default=None, contents=True, costly=True)
    plain: Path | None = env("FILES_PLAIN", default=None)


async def test_another_content_of_a_file_is_a_change_of_its_key_and_another_path_is_not(tmp_path: Path) -> None:
    files = Declared(Files, Origin("db", "eggycore-db", "0.1.0"))
    ca, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    ca.write_text("one")
    environ = {"FILES_CA": str(ca), "FILES_PLAIN": str(ca)}
    told: list[set[str]] = []
    listener = Listener(name="db", config_changed=lambda change: told.append(set(change.keys)))
    reloader = Reloader(load([files], Sources(environ, None)), [files], listeners=[listener])

    async def outcome() -> tuple[str, set[str], set[str]]:
        result = await reloader.reload(Sources(environ, None))
        return result.outcome, set(result.changed), set(result.pending)

    assert await outcome() == ("unchanged", set(), set())
    ca.write_text("two")
    assert await outcome() == ("applied", {"FILES_CA"}, set())
    assert await outcome() == ("unchanged", set(), set())
    assert reloader.current[Files].ca == ca
    ca.unlink()
    assert await outcome() == ("applied", {"FILES_CA"}, set())
    other.write_text("three")
    environ["FILES_CA"] = str(other)
    assert await outcome() == ("unchanged", set(), {"FILES_CA"})
    assert told == [{"FILES_CA"}, {"FILES_CA"}]
    assert "two" not in repr(reloader.current.values["FILES_CA"])


@pytest.mark.parametrize("content", ["a pipe", "a folder", "2 MiB"])
async def test_what_is_no_certificate_is_compared_too_and_waited_for_by_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    match content:
        case "a pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case _:
            path.write_bytes(bytes(2 * 1024**2))
    before = content_digest(path)
    assert content_digest(path) == before
    if content == "2 MiB":
        with path.open("ab") as file:
            file.write(b"x")
        assert content_digest(path) != before
    assert content_digest(tmp_path / "missing") == content_digest(Path("/\0")) == "missing"


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (lambda: env("BAD_VALUE", default="a", contents=True), "contents=True is for a Path"),
        (
            lambda: env("BAD_VALUE", default="a", costly=True),
            "costly=True is for what a reload can change",
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(declared: Callable[[], Any], reason: str) -> None:
    with pytest.raises(TypeError) as refused:

        class Bad(Settings):
            value: str = declared()

    assert str(refused.value).endswith(reason)


async def test_a_return_tells_everybody_in_reverse_order_and_names_who_does_not_follow() -> None:
    world = World("db", "cache")
    proven = world.reloader.current
    world.environ["POOL_IDLE"] = "5"
    await world.reloader.reload(world.sources)
    world.failing["cache", True] = OSError("no")
    why = RuntimeError("readiness is lost")
    result = await world.reloader.go_back(proven, why)
    assert (result.outcome, result.generation, set(result.changed)) == ("undone", 1, {"POOL_IDLE"})
    assert result.error is why
    assert [name for name, _ in result.stranded] == ["cache"]
    assert world.told == [("db", False, 5), ("cache", False, 5), ("db", True, 2)]
    assert world.reloader.current is proven
    world.environ["POOL_IDLE"] = "6"
    assert (await world.reloader.reload(world.sources)).generation == 3, "no number is given twice"
