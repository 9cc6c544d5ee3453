"""What the event loop sends by itself on PostgreSQL, and how it shares a connection with functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import peewee
import pytest

from eggycore_db import Database, Model, PoolLimits, TransactionAborted, get_db
from eggycore_db.session import Session
from eggycore_db.sql import row_of, run_sql
from tests.servers import Certificates, postgres_server

MOST = 2
HERE: ContextVar[str] = ContextVar("where a query came from", default="")


class Account(Model):
    name = peewee.TextField(unique=True)
    balance = peewee.IntegerField(default=0)


class Numbered(Model):
    name = peewee.TextField()
    number = peewee.IntegerField(default=lambda: Account.select().count())


class Wide(Model):
    text = peewee.TextField()


class Careful(Model):
    name = peewee.TextField()

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        SEEN.append(threading.current_thread())


class Shouting(peewee.TextField):
    def db_value(self, value: Any) -> Any:
        SEEN.append(threading.current_thread())
        return value.upper()


class Loud(Model):
    name = Shouting()


class Own(Model):
    name = peewee.TextField()

    @classmethod
    def create(cls, **values: Any) -> Any:
        SEEN.append(threading.current_thread())
        return super().create(**values)


MODELS = [Account, Numbered, Wide, Careful, Loud, Own]
SEEN: list[threading.Thread] = []


class Threads:
    """In which thread each statement was finished, and in whose context."""

    def __init__(self) -> None:
        self.by_statement: list[tuple[str, bool]] = []
        self.contexts: list[str] = []

    def __call__(self, event: peewee.QueryEvent) -> None:
        main = threading.current_thread() is threading.main_thread()
        self.by_statement.append((event.sql.removeprefix("BEGIN;").split()[0], main))
        self.contexts.append(HERE.get())


@pytest.fixture
async def db(postgres_dsn: str) -> AsyncIterator[Database]:
    """A PostgreSQL database with the account a, and two connections."""
    async with Database(postgres_dsn, pool=PoolLimits(max_open=MOST)) as database:
        await database.run(database.peewee.create_tables, MODELS)
        await database.create(Account, name="a")
        SEEN.clear()
        yield database


@pytest.fixture
def threads(db: Database) -> Threads:
    hook = Threads()
    db.peewee.query_hooks.append(hook)
    return hook


async def names(db: Database) -> list[str]:
    return [row.name for row in await db.list(Account.select().order_by(Account.name))]


async def until_nothing_is_in_use(db: Database) -> None:
    async with asyncio.timeout(10):
        while db.pools[0].in_use:
            await asyncio.sleep(0.001)


WAITING = """SELECT count(*) FROM pg_locks WHERE NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


async def until_somebody_waits_for_a_lock(db: Database, session: Session) -> None:
    async with asyncio.timeout(10):
        while (await session.run(row_of, db.peewee, WAITING)) == (0,):
            await asyncio.sleep(0.005)


async def test_what_is_made_and_found_by_its_key_needs_no_thread(db: Database, threads: Threads) -> None:
    made = await db.create(Account, name="b", balance=3)
    assert (await db.get(Account, made.id)).balance == 3
    async with db.transaction():
        made = await db.create(Account, name="c")
        assert (await db.get(Account, made.id)).name == "c"
        assert await db.execute(Account.update(balance=1).where(Account.balance < 2)) == 2
        assert await db.execute(Account.delete().where(Account.name == "a")) == 1
    await db.create(Account, name="a")
    with pytest.raises(Account.DoesNotExist):
        await db.get(Account, 77)
    with pytest.raises(peewee.IntegrityError):
        await db.create(Account, name="a")
    assert threads.by_statement == [
        ("INSERT", True),
        ("SELECT", True),
        ("INSERT", True),
        ("SELECT", True),
        ("UPDATE", True),
        ("DELETE", True),
        ("INSERT", True),
        ("SELECT", True),
        ("INSERT", True),
    ]
    assert await names(db) == ["a", "b", "c"]
    returned = await db.execute(Account.update(balance=7).where(Account.name == "a").returning(Account.balance))
    assert [row.balance for row in returned] == [7]
    await until_nothing_is_in_use(db)


async def test_many_tasks_on_few_connections(db: Database) -> None:
    async def work(number: int) -> None:
        async with db.transaction():
            made = await db.create(Account, name=f"{number}")
            if number % 3 == 0:
                await db.run(lambda: Account.update(balance=number).where(Account.id == made.id).execute())
        found = await db.get(Account, made.id)
        assert (found.name, found.balance) == (f"{number}", 0 if number % 3 else number)
        assert await db.run(lambda: Account.get_by_id(made.id).name) == found.name

    async with asyncio.timeout(30):
        await asyncio.gather(*map(work, range(1, 200)))
    assert len(await names(db)) == 200
    assert db.pools[0].open_connections <= MOST
    await until_nothing_is_in_use(db)


async def test_an_observer_sees_the_context_of_who_asked(db: Database, threads: Threads) -> None:
    async def ask(name: str) -> None:
        HERE.set(name)
        await db.create(Account, name=name)

    await asyncio.gather(*(ask(f"{number}") for number in range(20)))
    assert sorted(threads.contexts, key=int) == [f"{number}" for number in range(20)]


@pytest.mark.parametrize("model", [Careful, Loud, Own])
async def test_code_of_a_models_own_runs_in_a_worker(db: Database, model: Any) -> None:
    made = await db.create(model, name="a")
    async with db.transaction():
        await db.create(model, name="b")
    assert (await db.get(model, made.id)).name.lower() == "a"
    assert SEEN
    assert threading.main_thread() not in SEEN


async def test_a_default_may_ask_the_database(db: Database) -> None:
    assert (await db.create(Numbered, name="x")).number == 1
    async with db.transaction():
        await db.create(Account, name="b")
        assert (await db.create(Numbered, name="y")).number == 2


async def test_a_function_goes_on_with_the_transaction_that_the_loop_began(db: Database) -> None:
    after: list[str] = []

    def goes_on() -> list[str]:
        database = get_db()
        with pytest.raises(LookupError), database.atomic():  # a savepoint
            Account.create(name="gone")
            raise LookupError
        with database.atomic():
            Account.create(name="c")
        database.peewee.after_commit(lambda: after.append("committed"))
        return [row.name for row in Account.select().order_by(Account.name)]

    async with db.transaction():
        await db.create(Account, name="b")
        assert await db.run(goes_on) == ["a", "b", "c"]
        await db.create(Account, name="d")
        async with db.transaction():
            await db.create(Account, name="e")
        assert not after
    assert after == ["committed"]
    assert await names(db) == ["a", "b", "c", "d", "e"]
    with pytest.raises(LookupError, match="no"):
        async with db.transaction():
            await db.create(Account, name="f")
            await db.run(goes_on_and_fails)
    assert await names(db) == ["a", "b", "c", "d", "e"]
    await until_nothing_is_in_use(db)


def goes_on_and_fails() -> None:
    Account.create(name="g")
    raise LookupError("no")


async def test_a_transaction_has_the_isolation_that_was_asked_for(db: Database) -> None:
    async with db.transaction(isolation="serializable"):
        await db.create(Account, name="b")
        shown = await db.run(run_sql, db.peewee, "SHOW transaction_isolation")
        assert shown.fetchone() == ("serializable",)
    assert await names(db) == ["a", "b"]


async def test_a_commit_after_a_statement_that_failed_is_refused(db: Database) -> None:
    with pytest.raises(TransactionAborted):
        async with db.transaction():
            await db.create(Account, name="b")
            with pytest.raises(peewee.IntegrityError):
                await db.create(Account, name="a")
    assert await names(db) == ["a"]
    await until_nothing_is_in_use(db)


async def test_a_value_that_cannot_be_sent_leaves_the_transaction_as_it_was(db: Database) -> None:
    with pytest.raises(LookupError):
        async with db.transaction():
            with pytest.raises(ValueError, match="NUL"):
                await db.create(Account, name="\0")
            await db.create(Account, name="b")
            with pytest.raises(ValueError, match="NUL"):
                await db.create(Account, name="\0")
            await db.create(Account, name="c")
            raise LookupError
    assert await names(db) == ["a"]
    async with db.transaction():
        with pytest.raises(ValueError, match="NUL"):
            await db.create(Account, name="\0")
    await until_nothing_is_in_use(db)


@pytest.mark.parametrize("size", [1, 20_000_000])
async def test_values_of_any_size(db: Database, size: int) -> None:
    async with db.transaction():
        await db.create(Account, name="x")
    wide = await db.create(Wide, text="y" * size)
    assert (await db.get(Wide, wide.id)).text == "y" * size
    made = await db.run(lambda: Wide.create(text="z" * size))  # the same in a thread
    assert await db.run(lambda: Wide.get_by_id(made.id).text) == "z" * size
    await until_nothing_is_in_use(db)


async def test_over_tls(certificates: Certificates) -> None:
    size = 3_000_000
    with postgres_server(tls=certificates, password="hunter2-secret") as server:
        async with Database(f"{server.dsn()}?sslmode=require") as db:
            hook = Threads()
            await db.run(db.peewee.create_tables, MODELS)
            db.peewee.query_hooks.append(hook)
            async with db.transaction():
                await db.create(Account, name="b")
                wide = await db.create(Wide, text="y" * size)
            assert (await db.get(Wide, wide.id)).text == "y" * size
            assert hook.by_statement == [("INSERT", True), ("INSERT", True), ("SELECT", True)]


async def test_a_caller_that_leaves_keeps_no_connection_and_its_statement_goes_on_to_its_end(db: Database) -> None:
    async with db.session() as locker:
        await locker.run(run_sql, db.peewee, "BEGIN; LOCK TABLE account IN SHARE MODE")
        leaving = asyncio.create_task(db.create(Account, name="b"))
        await until_somebody_waits_for_a_lock(db, locker)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert db.pools[0].in_use == 2
        await locker.run(run_sql, db.peewee, "ROLLBACK")
    await until_nothing_is_in_use(db)
    assert await names(db) == ["a", "b"]


async def test_a_transaction_whose_task_leaves_is_rolled_back(db: Database) -> None:
    async def work() -> None:
        async with db.transaction():
            await db.create(Account, name="b")
            await db.create(Wide, text="c")

    async with db.session() as locker:
        for table in ("account", "wide"):  # in its first statement, and in a later one
            await locker.run(run_sql, db.peewee, f"BEGIN; LOCK TABLE {table} IN SHARE MODE")
            leaving = asyncio.create_task(work())
            await until_somebody_waits_for_a_lock(db, locker)
            leaving.cancel()
            await asyncio.sleep(0)
            await locker.run(run_sql, db.peewee, "ROLLBACK")
            with pytest.raises(asyncio.CancelledError):
                await leaving
    await until_nothing_is_in_use(db)
    assert await names(db) == ["a"]
    assert await db.run(lambda: Wide.select().count()) == 0


@pytest.mark.parametrize("by_function", [False, True])
async def test_a_block_may_go_on_after_a_statement_that_it_did_not_wait_for(db: Database, by_function: bool) -> None:
    async with db.session() as locker, db.transaction():
        await db.create(Account, name="b")
        await locker.run(run_sql, db.peewee, "BEGIN; LOCK TABLE wide IN SHARE MODE")
        slow = db.run(lambda: Wide.create(text="c")) if by_function else db.create(Wide, text="c")
        waiting = asyncio.create_task(until_somebody_waits_for_a_lock(db, locker))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await slow
        await waiting
        going_on = asyncio.ensure_future(locker.run(run_sql, db.peewee, "ROLLBACK"))
        await db.create(Account, name="d")
        assert await db.run(lambda: Account.select().count()) == 3
        await going_on
    assert await names(db) == ["a", "b", "d"]
    await until_nothing_is_in_use(db)
