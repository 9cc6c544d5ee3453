"""The pool: threads on demand within their bounds, each with one connection, whatever callers do."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import peewee
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eggycore.metrics import Registry
from eggycore_db import Database, DatabaseClosed, DatabaseUnavailable, Model, PoolExhausted, PoolLimits
from eggycore_db.engine import Line
from eggycore_db.instruments import Instruments, QueryLog
from eggycore_db.pool import Pool

PATIENCE = 20.0


class FakeEngine:
    """Connections that remember which threads opened and closed them, and can be told to fail or to break."""

    kind = "postgresql"
    location = "here"
    statement_limit = 0.0
    prepares = False
    peewee = None

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.refuses = False
        self.dead: set[threading.Thread] = set()
        self.open: set[threading.Thread] = set()
        self.opened = self.closed = self.most = 0
        self._lock = threading.Lock()

    def connect(self, *, blocking: bool = False) -> Callable[[], None]:
        if self.failures:
            raise self.failures.pop()
        if self.refuses:
            raise DatabaseUnavailable("here", "refused")
        thread = threading.current_thread()
        with self._lock:
            assert thread not in self.open
            self.open.add(thread)
            self.opened += 1
            self.most = max(self.most, len(self.open))
        return lambda: None

    def disconnect(self) -> None:
        with self._lock:
            self.closed += threading.current_thread() in self.open
            self.open.discard(threading.current_thread())

    def line(self) -> None:
        return None

    def alive(self) -> bool:
        return threading.current_thread() not in self.dead

    def reset(self) -> bool:
        return False

    def explain(self, error: BaseException) -> BaseException:
        return error

    def fault(self, error: BaseException, line: Line | None = None) -> DatabaseUnavailable | None:
        return DatabaseUnavailable.lost("here", "gone") if isinstance(error, ConnectionError) else None

    def timed_out(self, error: BaseException) -> bool:
        return False


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
async def opened(engine: FakeEngine, **limits: Any) -> AsyncIterator[Pool]:
    pool = Pool("pool", engine=engine, database=None, writes=True, limits=PoolLimits(**limits))  # type: ignore[arg-type]  # no work here asks for the database, and the limits are its fields
    pool.open()
    try:
        yield pool
    finally:
        await pool.close()
        assert not engine.open
        assert engine.opened == engine.closed


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


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


ACTIONS = (
    "submit",
    "claim",
    "acquire",
    "release",
    "cancel",
    "break",
    "die",
    "refuse",
    "serve",
    "renew",
    "turn",
    "fail fast",
)


@settings(max_examples=60)
@given(
    actions=st.lists(st.sampled_from(ACTIONS), max_size=60),
    size=st.integers(1, 4),
    end=st.sampled_from(["close", "cancelled close"]),
)
def test_whatever_callers_do_in_whatever_order_all_of_it_ends(actions: list[str], size: int, end: str) -> None:
    asyncio.run(_any_order(actions, size, end))


async def _any_order(actions: list[str], size: int, end: str) -> None:
    engine, held, waiting = FakeEngine(), [], []
    drawn = random.Random(len(actions))

    def lose() -> None:
        raise ConnectionError

    async with opened(engine, max_open=size, acquire_timeout=5.0, idle_check=0.01) as pool:
        for action in actions:
            with suppress(DatabaseUnavailable):
                if action == "submit":
                    waiting.append(pool.submit(int))
                elif action == "break":
                    waiting.append(pool.submit(lose))
                elif action == "claim":
                    waiting.append(asyncio.create_task(_claimed(pool)))
                elif action == "acquire":
                    held.append(asyncio.create_task(_acquired(pool)))
            if action == "release" and held:
                held.pop(drawn.randrange(len(held))).cancel()
            elif action == "cancel" and waiting:
                drawn.choice(waiting).cancel()
            elif action == "die":
                engine.dead |= set(engine.open)
            elif action in ("refuse", "serve"):
                engine.refuses = action == "refuse"
            elif action == "renew":
                pool.renew()
            elif action == "fail fast":
                pool.fail_fast(DatabaseUnavailable("here", "timeout"))
            elif action == "turn":
                await asyncio.sleep(0.001)
            assert len(engine.open) <= size
        engine.refuses = False
        engine.dead.clear()
        for one in held:
            one.cancel()
        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(*waiting, *held, return_exceptions=True)
        for outcome in outcomes:
            assert outcome == 0 or isinstance(outcome, DatabaseUnavailable | asyncio.CancelledError), outcome
        await becomes(lambda: pool.trouble is None)
        assert await pool.submit(int) == 0
        await becomes(lambda: pool.in_use == 0 and pool.waiting == 0)
        if end == "cancelled close":
            closing = asyncio.create_task(pool.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait({closing})
    assert engine.most <= size


async def _claimed(pool: Pool) -> int:
    """A transaction's way: claim a worker with the first work, then give it back."""
    job = pool.claim("a transaction", int, ())
    try:
        return await job.future
    finally:
        if not job.future.cancelled() and job.worker is not None:
            job.worker.release()


async def _acquired(pool: Pool) -> None:
    worker = await pool.acquire("somebody")
    try:
        await asyncio.Event().wait()
    finally:
        worker.release()


class Form(Model):
    title = peewee.CharField()


def make_table(db: Database) -> None:
    db.peewee.create_tables([Form])  # type: ignore[no-untyped-call]  # peewee's stubs lack its types


async def test_two_hundred_requests_on_ten_connections_lose_and_leak_nothing(dsn: str) -> None:
    async with Database(dsn, pool=PoolLimits(max_open=10)) as db:
        await db.run(make_table, db)
        most = 0

        async def request(number: int) -> int:
            nonlocal most
            async with db.transaction():
                row = await db.create(Form, title=str(number))
            most = max(most, sum(pool.open_connections for pool in db.pools))
            found = await db.get(Form, row.id)
            return int(found.title)

        async with asyncio.timeout(60):
            assert await asyncio.gather(*map(request, range(200))) == list(range(200))
        assert await db.scalar(Form.select(peewee.fn.COUNT(Form.id))) == 200
        assert most <= 10
        await becomes(lambda: not any(pool.in_use or pool.waiting for pool in db.pools))


async def test_requests_whose_clients_leave_lose_and_leak_nothing(dsn: str) -> None:
    """A third of the callers is cancelled at a random moment; the others get their answer."""
    drawn = random.Random(7)
    async with Database(dsn, pool=PoolLimits(max_open=10)) as db:
        await db.run(make_table, db)

        async def request(number: int) -> int:
            async with db.transaction():
                await db.create(Form, title=f"{number} first")
                await db.create(Form, title=f"{number} second")
            return await db.scalar(Form.select(peewee.fn.COUNT(Form.id)).where(Form.title.startswith(f"{number} ")))

        tasks = [asyncio.create_task(request(number)) for number in range(200)]
        for task in drawn.sample(tasks, 70):
            await asyncio.sleep(drawn.uniform(0, 0.004))
            task.cancel()
        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {int, asyncio.CancelledError}
        assert all(outcome == 2 for outcome in outcomes if isinstance(outcome, int))
        assert await db.scalar(Form.select(peewee.fn.COUNT(Form.id))) % 2 == 0
        await becomes(lambda: not any(pool.in_use or pool.waiting for pool in db.pools))
        assert sum(pool.open_connections for pool in db.pools) <= 10
        assert await asyncio.gather(*map(request, range(200, 230))) == [2] * 30
