"""The pool: whatever callers do in whatever order, nothing is lost and nothing leaks."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from importlib import import_module
from typing import Any

import peewee
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eggycore_db import Database, DatabaseUnavailable, Model, PoolLimits
from eggycore_db.jobs import Job
from eggycore_db.pool import Pool
from eggycore_db.prepared import Prepared

pools = import_module("plugins.eggycore-db.tests.pools")
PATIENCE = pools.PATIENCE
FakeEngine = pools.FakeEngine
opened = pools.opened
becomes = pools.becomes


ACTIONS = (
    "submit",
    "submit blocking",
    "send",
    "send in vain",
    "lose",
    "claim",
    "claim and send",
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
    prepares=st.booleans(),
    end=st.sampled_from(["close", "cancelled close"]),
)
@example(actions=["claim and send", "turn", "turn", "turn", "claim", "turn"] * 9, size=2, prepares=True, end="close")
@example(actions=["submit blocking", "send", "send", "turn", "submit"] * 9, size=2, prepares=True, end="close")
@example(actions=["claim and send", "turn", "turn", "cancel", "send", "turn"] * 9, size=2, prepares=True, end="close")
def test_whatever_callers_do_in_whatever_order_all_of_it_ends(
    actions: list[str], size: int, prepares: bool, end: str
) -> None:
    asyncio.run(_any_order(actions, size, end, FakeEngine(prepares=prepares)))


async def _any_order(actions: list[str], size: int, end: str, engine: Any) -> None:
    held: list[asyncio.Future[Any]] = []
    waiting: list[asyncio.Future[Any]] = []
    drawn = random.Random(len(actions))

    def lose() -> None:
        raise ConnectionError

    async with opened(engine, max_open=size, acquire_timeout=5.0, idle_check=0.01) as pool:
        for action in actions:
            with suppress(DatabaseUnavailable):
                if action == "submit":
                    waiting.append(pool.submit(engine.work))
                elif action == "submit blocking":
                    waiting.append(pool.submit(engine.work, blocking=True))
                elif action in SENT:
                    function = engine.work if action == "send" else lose
                    waiting.append(pool.submit(function, prepared=prepared(action)))
                elif action == "claim and send":
                    waiting.append(asyncio.create_task(_claimed(pool, engine, prepared("send"))))
                elif action == "break":
                    waiting.append(pool.submit(lose))
                elif action == "claim":
                    waiting.append(asyncio.create_task(_claimed(pool, engine)))
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
        assert await pool.submit(engine.work) == 0
        await becomes(lambda: pool.in_use == 0 and pool.waiting == 0)
        if end == "cancelled close":
            closing = asyncio.create_task(pool.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait({closing})
    assert engine.most <= size
    assert engine.trespasses == 0


SENT = {"send": "", "send in vain": "unknown value", "lose": "lose"}


def prepared(action: str) -> Prepared:
    """What the event loop may send."""
    return Prepared(SENT[action], (), lambda cursor: 0, observed=False)


async def _claimed(pool: Pool, engine: Any, first: Prepared | None = None) -> int:
    """A transaction's way: claim a worker with the first work, go on with it, then give it back."""
    job = pool.claim("a transaction", engine.work, (), prepared=first)
    try:
        await job.future
        assert job.worker is not None
        left = [_given(job.worker, pool, engine, None if number % 2 else first) for number in range(3)]
        await _given(job.worker, pool, engine, first)
        await asyncio.gather(*left)
        return 0
    finally:
        if not job.future.cancelled() and job.worker is not None:
            job.worker.release()


def _given(worker: Any, pool: Pool, engine: Any, first: Prepared | None) -> asyncio.Future[int]:
    job = Job(pool.mail, engine.work, (), {})
    job.prepared, job.last = first, False
    worker.give(job)
    return job.future


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
