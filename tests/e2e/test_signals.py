"""Signals in every phase of a real process: what is opened is closed, in time, with the right exit code."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Start = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize("phase", ["import", "settings", "plan", "open", "start", "check"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_during_start_up_closes_everything_and_is_clean(start: Start, phase: str, number: int):
    instance = await start("phases_app", "--plugins", "", HANG_IN=phase)
    await instance.until("hanging")
    began = time.monotonic()
    instance.signal(number)
    assert await instance.ended() == 0, await instance.stderr()
    assert time.monotonic() - began < 10
    opened = [line["what"] for line in instance.said("opened")]
    assert [line["what"] for line in instance.said("closed")] == opened[::-1]
    assert opened == {"open": ["first", "second"], "start": ["first", "second", "service"],
                      "check": ["first", "second", "service"]}.get(phase, [])  # fmt: skip


async def test_a_stop_after_ready_is_clean_and_summed_up(start: Start):
    instance = await start("phases_app", "--plugins", "")
    await instance.until("ready")
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0
    (summary,) = instance.said("stopped")
    assert (summary["reason"], summary["finished"], summary["cut"]) == ("SIGTERM", 0, 0)
    assert [line["what"] for line in instance.said("closed")] == ["service", "second", "first"]


async def test_a_second_signal_forces_the_exit_and_says_what_was_still_running(start: Start):
    instance = await start("stubborn_app", "--plugins", "", STUBBORN="WAITS", SHUTDOWN_TIMEOUT="60s")
    await instance.until("ready")
    instance.signal(signal.SIGTERM)
    await instance.until("stopping")
    ended = asyncio.create_task(instance.ended())
    while not ended.done():  # one that comes at once is the same request
        instance.signal(signal.SIGTERM)
        await asyncio.wait({ended}, timeout=0.2)
    assert ended.result() == 1
    (forced,) = instance.said("forced exit: what is still running is cut off")
    assert forced["reason"] == "a second SIGTERM"
    assert "never_ending_work" in forced["stacks"]


async def test_what_does_not_stop_is_cut_at_the_deadline_and_named_with_its_innermost_frame(start: Start):
    instance = await start("stubborn_app", "--plugins", "", STUBBORN="WAITS", SHUTDOWN_TIMEOUT="1s")
    await instance.until("ready")
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 1
    (failed,) = instance.said("failed to stop")
    assert failed["component"] == "stubborn"
    assert failed["reason"].startswith("Service 'stubborn' of app stubborn_app did not stop within 0.8 s.\n")
    assert "never_ending_work" in failed["reason"]


@pytest.mark.parametrize("stubborn", ["IGNORES", "BLOCKS"])
async def test_the_deadline_ends_even_what_cannot_be_cancelled(start: Start, stubborn: str):
    instance = await start("stubborn_app", "--plugins", "", STUBBORN=stubborn, SHUTDOWN_TIMEOUT="1s")
    await instance.until("ready")
    began = time.monotonic()
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 1
    assert time.monotonic() - began < 5
    if stubborn == "BLOCKS":
        (forced,) = instance.said("forced exit: what is still running is cut off")
        assert forced["reason"] == "the shutdown budget is used up"
        assert "never_ending_work" in forced["stacks"]


async def test_an_initializer_that_does_not_close_leaves_the_others_their_turn(start: Start):
    instance = await start("phases_app", "--plugins", "", HANG_IN="close", SHUTDOWN_TIMEOUT="2s")
    await instance.until("ready")
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 1
    assert [line["what"] for line in instance.said("closed")] == ["service", "second", "first"]
    (failed,) = instance.said("failed to close")
    assert failed["component"] == "first"
    assert len(instance.said("stopped")) == 1
    assert instance.said("forced exit: what is still running is cut off") == []
    assert await instance.stderr() == ""


async def test_sigusr1_writes_the_stacks_of_all_tasks_and_threads(start: Start):
    instance = await start("phases_app", "--plugins", "")
    await instance.until("ready")
    instance.signal(signal.SIGUSR1)
    line = await instance.until("stacks of all tasks and threads")
    assert "eggycore service worker" in line["stacks"]
    assert "MainThread" in line["stacks"]
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0


async def test_sighup_reads_the_configuration_again(start: Start, tmp_path: Any, apps: Any):
    (tmp_path / "phases_app.py").write_text((apps / "phases_app.py").read_text())
    instance = await start("phases_app", "--plugins", "", folder=tmp_path, CONFIG_WATCH="false")
    await instance.until("ready")
    (tmp_path / ".env").write_text("LOG_LEVEL=debug\nSTARTUP_TIMEOUT=9s\n")
    instance.signal(signal.SIGHUP)
    line = await instance.until("configuration applied")
    assert (line["changed"], line["pending_restart"], line["generation"]) == (["LOG_LEVEL"], ["STARTUP_TIMEOUT"], 2)
    (tmp_path / ".env").write_text("LOG_LEVEL=loud\n")
    instance.signal(signal.SIGHUP)
    refused = await instance.until("configuration refused")
    assert "LOG_LEVEL" in refused["reason"]
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0


async def test_a_service_that_dies_is_restarted_and_logged(start: Start):
    instance = await start("dying_app", "--plugins", "", DEATHS="2")
    crash = await instance.until("service crashed")
    assert (crash["component"], crash["origin"], crash["reason"]) == (
        "worker",
        "app dying_app",
        "it raised RuntimeError",
    )
    assert "worker lost its mind" in str(crash["exception"])
    await instance.until("service crashed")
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0


async def test_a_service_past_its_budget_ends_the_process_with_the_reason(start: Start):
    instance = await start("dying_app", "--plugins", "", DEATHS="99", LIMIT="2")
    code, stderr = await asyncio.gather(instance.ended(), instance.stderr())
    assert code == 1
    assert len(instance.said("service crashed")) == 3
    assert stderr == (
        "eggycore: Service 'worker' of app dying_app died: it raised RuntimeError.\n"
        "  cause:  A critical service that stays dead ends the process; it was restarted 2 times within 600 s, and 2"
        " are allowed.\n"
        "  action: Read the error line with its stack above, mend the cause, or declare it critical=False.\n"
    )


async def test_a_thread_left_behind_does_not_hold_up_the_exit(start: Start):
    instance = await start("threads_app", "--plugins", "")
    await instance.until("ready")
    instance.signal(signal.SIGTERM)
    assert await instance.ended() == 0
    (dead,) = instance.said("a thread died")
    assert (dead["thread"], dead["exception"]["type"]) == ("dying", "ZeroDivisionError")
    assert await instance.stderr() == "eggycore: exit without threads that do not end: left behind\n"
