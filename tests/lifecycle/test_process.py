"""The process around a runtime: which signal acts on what, and when."""

from __future__ import annotations

import asyncio
import signal
from contextvars import ContextVar
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from eggycore import log
from eggycore.boot import abootstrap
from eggycore.config import Config
from eggycore.hookspecs import hookimpl
from eggycore.process import Process, StopDuringSetup, sigterm_cancels
from eggycore.runtime import Runtime
from eggycore.types import Service

uvloop.new_event_loop().close()  # libuv makes a pipe for the signals of the process with its first loop, and keeps it


class Target:
    """Takes down what signals ask for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stop = asyncio.Event()

    def request_stop(self, reason: str) -> None:
        self.asked.append(reason)
        self.stop.set()

    def request_reload(self) -> None:
        self.asked.append("reload")


def test_before_there_is_a_loop_a_stop_cuts_in():
    with Process(), pytest.raises(StopDuringSetup):
        signal.raise_signal(signal.SIGTERM)


def test_a_stop_while_the_loop_begins_is_passed_on():
    target = Target()

    with Process() as process:

        async def main() -> int:
            signal.raise_signal(signal.SIGTERM)
            process.attach(target)
            await target.stop.wait()
            return 0

        assert process.run(main) == 0
    assert target.asked == ["SIGTERM"]


def test_once_everything_is_closed_signals_act_on_nothing():
    target = Target()

    with Process() as process:

        async def main() -> int:
            process.attach(target)
            return 0

        assert process.run(main) == 0
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
    assert target.asked == []


async def test_a_signal_goes_to_all_who_share_the_process_whoever_leaves_first():
    before = signal.getsignal(signal.SIGHUP)
    first, second = Process(), Process()
    targets = [Target(), Target()]
    for process, target in zip((first, second), targets, strict=True):
        process.__enter__()
        process.attach(target)
    signal.raise_signal(signal.SIGHUP)
    await asyncio.sleep(0)
    assert [target.asked for target in targets] == [["reload"], ["reload"]]
    first.__exit__(None, None, None)
    signal.raise_signal(signal.SIGTERM)
    await targets[1].stop.wait()
    assert [target.asked for target in targets] == [["reload"], ["reload", "SIGTERM"]]
    second.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGHUP) == before


async def test_a_signal_that_comes_to_the_process_and_to_its_group_is_one(monkeypatch: pytest.MonkeyPatch):
    forced: Queue[str] = Queue()
    now = [100.0]
    monkeypatch.setattr(Process, "_force_exit", lambda process, why: forced.put(why))
    monkeypatch.setattr("eggycore.process.time", SimpleNamespace(monotonic=lambda: now[0]))
    target = Target()
    with Process() as process:
        process.attach(target)
        signal.raise_signal(signal.SIGTERM)
        now[0] += 0.09
        signal.raise_signal(signal.SIGTERM)
        await target.stop.wait()
        now[0] += 0.1
        signal.raise_signal(signal.SIGTERM)
        assert await asyncio.to_thread(forced.get, timeout=5) == "a second SIGTERM"
        assert forced.empty()
    assert target.asked == ["SIGTERM"]


async def test_a_reload_by_signal_knows_nothing_of_the_request_that_the_signal_interrupted():
    request_id = ContextVar("request_id", default="none")
    seen = []

    class Reloading(Target):
        def request_reload(self) -> None:
            seen.append(request_id.get())

    async def request() -> None:
        request_id.set("of a stranger")
        signal.raise_signal(signal.SIGHUP)

    with Process() as process:
        process.attach(Reloading())
        await asyncio.create_task(request())
        await asyncio.sleep(0)
    assert seen == ["none"]


def test_a_stop_before_anything_opened_is_a_clean_end_of_run():
    class App:
        @hookimpl
        def register_settings(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    assert Runtime(app=App(), environ={"SERVICE_NAME": "test"}, discover=False).run() == 0


async def test_a_stop_before_anything_opened_is_a_clean_end_of_abootstrap(monkeypatch: pytest.MonkeyPatch):
    def stop(*arguments: Any, **fields: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setenv("EGGYCORE_PLUGINS", "")
    monkeypatch.setattr(log, "init", stop)

    async def run(control: object) -> None:
        raise AssertionError("it must not be started")

    assert await abootstrap(Config(service_name="test"), Service(name="tick", run=run)) == 0


async def test_sigterm_cancels_who_holds_something_and_becomes_the_exit_code():
    released = False
    with pytest.raises(SystemExit) as caught, sigterm_cancels():
        try:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            released = True
    assert released
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_sigterm_is_left_to_who_handles_it_already():
    target = Target()
    with Process() as process:
        process.attach(target)
        with sigterm_cancels():
            signal.raise_signal(signal.SIGTERM)
            await target.stop.wait()
    assert target.asked == ["SIGTERM"]
