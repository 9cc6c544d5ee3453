"""Lanes: threads on demand, within their bounds, each with one connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from eggycore.metrics import Registry
from eggycore_db.errors import DatabaseClosed
from eggycore_db.instruments import Instruments
from eggycore_db.workers import Lane


class Recorder:
    """A connection that remembers which threads opened and closed it, and can be told to fail."""

    def __init__(self) -> None:
        self.opened: list[threading.Thread] = []
        self.closed: list[threading.Thread] = []
        self.three_closed = threading.Event()
        self.failures: list[Exception] = []

    def open(self) -> None:
        if self.failures:
            raise self.failures.pop()
        self.opened.append(threading.current_thread())

    def reset(self) -> bool:
        return False

    def close(self) -> None:
        self.closed.append(threading.current_thread())
        if len(self.closed) == 3:
            self.three_closed.set()


class Gate:
    """Units of work that wait until the gate is opened, and tell when they have begun."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()
        self.begun: asyncio.Queue[None] = asyncio.Queue()

    def work(self) -> threading.Thread:
        self._loop.call_soon_threadsafe(self.begun.put_nowait, None)
        assert self._open.wait(10)
        return threading.current_thread()

    def open(self) -> None:
        self._open.set()


@asynccontextmanager
async def opened(
    recorder: Recorder, *, size: int, idle: int, instruments: Instruments | None = None
) -> AsyncIterator[Lane]:
    lane = Lane("lane", size=size, idle=idle, connection=recorder, location="here", instruments=instruments)
    try:
        yield lane
    finally:
        await lane.close()


async def test_no_thread_starts_before_there_is_work() -> None:
    recorder = Recorder()
    async with opened(recorder, size=5, idle=5):
        pass
    assert recorder.opened == []


async def test_work_that_comes_one_after_another_needs_one_thread() -> None:
    recorder = Recorder()
    async with opened(recorder, size=5, idle=5) as lane:
        threads = {await lane.submit(threading.current_thread) for _ in range(20)}
    assert threads == set(recorder.opened) == set(recorder.closed)
    assert len(threads) == 1


async def test_work_at_once_gets_as_many_threads_as_allowed_and_no_more() -> None:
    recorder = Recorder()
    async with opened(recorder, size=3, idle=3) as lane:
        gate = Gate()
        working = [lane.submit(gate.work) for _ in range(10)]
        for _ in range(3):
            await gate.begun.get()
        assert gate.begun.empty()
        gate.open()
        threads = await asyncio.gather(*working)
    assert len(set(threads)) == len(recorder.opened) == 3
    assert sorted(thread.ident or 0 for thread in recorder.closed) == sorted(t.ident or 0 for t in recorder.opened)


async def test_threads_beyond_the_idle_ones_end_when_they_have_nothing_to_do() -> None:
    recorder = Recorder()
    async with opened(recorder, size=4, idle=1) as lane:
        gate = Gate()
        working = [lane.submit(gate.work) for _ in range(4)]
        for _ in range(4):
            await gate.begun.get()
        gate.open()
        await asyncio.gather(*working)
        assert await asyncio.to_thread(recorder.three_closed.wait, 10)
        kept = await lane.submit(threading.current_thread)
    assert [kept] == [thread for thread in recorder.closed if thread is kept]


async def test_a_lane_without_idle_threads_still_does_all_its_work() -> None:
    recorder = Recorder()
    async with opened(recorder, size=2, idle=0) as lane:
        results = await asyncio.gather(*(lane.submit(abs, -n) for n in range(100)))
    assert results == list(range(100))
    assert len(recorder.opened) == len(recorder.closed)


async def test_a_connection_that_fails_to_open_fails_that_work_and_is_tried_again() -> None:
    recorder = Recorder()
    recorder.failures.append(OSError("no"))
    async with opened(recorder, size=1, idle=1) as lane:
        with pytest.raises(OSError, match="no"):
            await lane.submit(abs, -1)
        assert await lane.submit(abs, -1) == 1
    assert len(recorder.opened) == len(recorder.closed) == 1


async def test_a_thread_that_cannot_be_started_fails_that_work_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with opened(Recorder(), size=1, idle=1) as lane:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_more)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                lane.submit(abs, -1)
        async with asyncio.timeout(10):
            assert await lane.submit(abs, -2) == 2


async def test_a_closed_lane_takes_nothing_more() -> None:
    async with opened(Recorder(), size=1, idle=1) as lane:
        await lane.submit(abs, -1)
    with pytest.raises(DatabaseClosed):
        lane.submit(abs, -1)
    await lane.close()


async def test_closing_may_be_cancelled_and_asked_for_again() -> None:
    recorder = Recorder()
    async with opened(recorder, size=1, idle=1) as lane:
        gate = Gate()
        working = lane.submit(gate.work)
        await gate.begun.get()
        closing = asyncio.create_task(lane.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        gate.open()
        await working
    assert len(recorder.closed) == 1


def test_the_outcome_of_work_whose_loop_is_gone_is_dropped() -> None:
    recorder = Recorder()
    go_on = threading.Event()
    lane = Lane("lane", size=1, idle=1, connection=recorder, location="here")

    async def submit_and_leave() -> None:
        lane.submit(go_on.wait, 10)

    asyncio.run(submit_and_leave())
    go_on.set()
    asyncio.run(lane.close())
    assert len(recorder.closed) == 1


async def test_connections_and_waiting_work_are_counted() -> None:
    metrics = Registry()
    async with opened(Recorder(), size=2, idle=2, instruments=Instruments(metrics, "orders")) as lane:
        gate = Gate()
        working = [lane.submit(gate.work) for _ in range(5)]
        for _ in range(2):
            await gate.begun.get()
        assert gauges(metrics) == {"db_connections_open": 2, "db_connections_in_use": 2, "db_jobs_waiting": 3}
        gate.open()
        await asyncio.gather(*working)
    assert gauges(metrics) == {"db_connections_open": 0, "db_connections_in_use": 0, "db_jobs_waiting": 0}


def gauges(metrics: Registry) -> dict[str, float]:
    families = [family for family in metrics.collect() if family.kind == "gauge"]
    assert {sample.labels for family in families for sample in family.samples} == {("orders",)}
    return {family.name: family.samples[0].value for family in families}
