"""The pool: threads on demand within their bounds, each with one connection."""

from __future__ import annotations

import asyncio
import threading
from importlib import import_module

import pytest

from eggycore.metrics import Registry
from eggycore_db import Database, DatabaseClosed, DatabaseUnavailable, PoolExhausted, PoolLimits
from eggycore_db.instruments import Instruments, QueryLog
from eggycore_db.pool import Pool

pools = import_module("plugins.eggycore-db.tests.pools")
FakeEngine = pools.FakeEngine
Gate = pools.Gate
opened = pools.opened
becomes = pools.becomes


async def test_no_thread_starts_before_there_is_work() -> None:
    engine = FakeEngine()
    async with opened(engine):
        pass
    assert engine.opened == 0


async def test_work_that_comes_one_after_another_needs_one_connection() -> None:
    engine = FakeEngine()
    async with opened(engine) as pool:
        threads = {await pool.submit(threading.current_thread) for _ in range(20)}
    assert len(threads) == engine.opened == 1


async def test_work_at_once_gets_as_many_connections_as_allowed_and_no_more() -> None:
    engine = FakeEngine()
    async with opened(engine, max_open=3) as pool:
        gate = Gate()
        working = [pool.submit(gate.work) for _ in range(10)]
        for _ in range(3):
            await gate.begun.get()
        assert gate.begun.empty()
        assert (pool.open_connections, pool.in_use, pool.waiting, pool.has_room) == (3, 3, 7, False)
        gate.open()
        threads = await asyncio.gather(*working)
    assert len(set(threads)) == engine.most == 3


async def test_connections_beyond_the_idle_ones_are_closed_when_nothing_uses_them() -> None:
    engine = FakeEngine()
    async with opened(engine, max_open=4, max_idle=1, idle_check=0.01) as pool:
        await four_at_once(pool)
        await becomes(lambda: len(engine.open) == 1)
        await pool.submit(int)
        assert engine.opened == 4


async def test_connections_without_use_are_closed_down_to_the_least() -> None:
    engine = FakeEngine()
    async with opened(engine, max_open=4, min_open=2, idle_time=0.01, idle_check=0.01) as pool:
        await four_at_once(pool)
        await becomes(lambda: len(engine.open) == 2)


async def test_the_least_number_of_connections_is_made_without_work() -> None:
    engine = FakeEngine()
    async with opened(engine, min_open=3, idle_check=0.01) as pool:
        await becomes(lambda: len(engine.open) == 3)
        await becomes(lambda: pool.in_use == 0)


async def test_a_connection_past_its_lifetime_is_replaced() -> None:
    engine = FakeEngine()
    async with opened(engine, lifetime=0.01) as pool:
        await pool.submit(int)
        await asyncio.to_thread(threading.Event().wait, 0.02)
        await pool.submit(int)
        await becomes(lambda: pool.open_connections == 0)
        await pool.submit(int)
    assert engine.opened == 2


async def test_a_pool_that_is_made_smaller_gives_up_connections() -> None:
    engine = FakeEngine()
    async with opened(engine, max_open=4, idle_check=0.01) as pool:
        await four_at_once(pool)
        pool.resize(PoolLimits(max_open=2, idle_check=0.01))
        await becomes(lambda: len(engine.open) == 2)


async def four_at_once(pool: Pool) -> None:
    gate = Gate()
    working = [pool.submit(gate.work) for _ in range(4)]
    for _ in range(4):
        await gate.begun.get()
    gate.open()
    await asyncio.gather(*working)


async def test_a_connection_that_fails_to_open_fails_that_work_and_is_tried_again() -> None:
    engine = FakeEngine()
    engine.failures.append(OSError("no"))
    async with opened(engine, max_open=1) as pool:
        with pytest.raises(OSError, match="no"):
            await pool.submit(abs, (-1,))
        assert await pool.submit(abs, (-1,)) == 1


async def test_while_nothing_can_be_reached_work_is_refused_at_once_until_it_can_be_again() -> None:
    engine = FakeEngine()
    engine.refuses = True
    async with opened(engine, max_open=2) as pool:
        with pytest.raises(DatabaseUnavailable):
            await pool.submit(int)
        assert pool.trouble is not None
        with pytest.raises(DatabaseUnavailable):
            pool.submit(int)
        with pytest.raises(DatabaseUnavailable):
            await pool.acquire("somebody")
        engine.refuses = False
        await becomes(lambda: pool.trouble is None)
        assert await pool.submit(int) == 0


async def test_a_server_that_is_given_up_is_tried_again_also_while_something_still_runs() -> None:
    engine = FakeEngine()
    async with opened(engine, max_open=2) as pool:
        gate = Gate()
        working = pool.submit(gate.work)
        await gate.begun.get()
        engine.refuses = True
        pool.fail_fast(DatabaseUnavailable("here", "timeout"))
        await becomes(lambda: pool.outage.failures > 0)  # the first attempt is over, and what runs is not
        engine.refuses = False
        await becomes(lambda: pool.trouble is None)
        gate.open()
        await working
        assert await pool.submit(int) == 0


async def test_a_connection_that_breaks_fails_its_work_and_is_not_used_again() -> None:
    def lose() -> None:
        raise ConnectionError

    engine = FakeEngine()
    async with opened(engine, max_open=1) as pool:
        with pytest.raises(DatabaseUnavailable, match="cannot be used now"):
            await pool.submit(lose)
        assert await pool.submit(int) == 0
    assert engine.opened == 2


async def test_a_connection_that_was_closed_while_idle_is_replaced_unseen() -> None:
    engine = FakeEngine()
    async with opened(engine, max_open=1) as pool:
        engine.dead.add(await pool.submit(threading.current_thread))
        assert await pool.submit(int) == 0
        engine.dead.clear()
    assert engine.opened == 2


async def test_a_thread_that_cannot_be_started_fails_that_work_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with opened(FakeEngine(), max_open=1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_more)
            with pytest.raises(DatabaseUnavailable) as refused:
                await pool.submit(abs, (-1,))
        assert refused.value.trouble == "no thread"
        await becomes(lambda: pool.trouble is None)
        assert await pool.submit(abs, (-2,)) == 2


async def test_a_closed_pool_takes_nothing_more() -> None:
    async with opened(FakeEngine()) as pool:
        await pool.submit(int)
    with pytest.raises(DatabaseClosed):
        pool.submit(int)
    with pytest.raises(DatabaseClosed):
        await pool.acquire("somebody")
    await pool.close()


async def test_closing_may_be_cancelled_and_asked_for_again() -> None:
    async with opened(FakeEngine(), max_open=1) as pool:
        gate = Gate()
        working = pool.submit(gate.work)
        await gate.begun.get()
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        gate.open()
        await working


async def test_what_waits_longer_than_it_may_is_told_how_many_there_are() -> None:
    async with opened(FakeEngine(), max_open=1, acquire_timeout=0.05) as pool:
        worker = await pool.acquire("the holder")
        with pytest.raises(PoolExhausted) as exhausted:
            await pool.submit(int)
        assert [holder.name for holder in exhausted.value.holders] == ["the holder"]
        worker.release()
        assert await pool.submit(int) == 0


async def test_connections_and_what_waits_are_counted(path: object) -> None:
    metrics = Registry()
    instruments = Instruments(metrics)
    db = Database("sqlite:///:memory:", name="orders", instruments=instruments.of("orders", QueryLog()))
    async with db:
        instruments.watch("orders", lambda: db.pools)
        gate = Gate()
        working = [asyncio.create_task(db.run(gate.work)) for _ in range(5)]
        await gate.begun.get()
        await becomes(lambda: db.pools[0].waiting == 4)
        assert gauges(metrics) == {"db_connections_open": 1, "db_connections_in_use": 1, "db_jobs_waiting": 4}
        gate.open()
        await asyncio.gather(*working)
        await becomes(lambda: db.pools[0].in_use == 0)
        assert gauges(metrics) == {"db_connections_open": 1, "db_connections_in_use": 0, "db_jobs_waiting": 0}
    assert gauges(metrics) == {"db_connections_open": 0, "db_connections_in_use": 0, "db_jobs_waiting": 0}
    (waits,) = [one for one in metrics.collect() if one.name == "db_connection_wait_seconds"]
    assert waits.samples[0].buckets[-1][1] >= 4


def gauges(metrics: Registry) -> dict[str, float]:
    families = [family for family in metrics.collect() if family.kind == "gauge"]
    assert {sample.labels for family in families for sample in family.samples} == {("orders",)}
    return {family.name: family.samples[0].value for family in families}
