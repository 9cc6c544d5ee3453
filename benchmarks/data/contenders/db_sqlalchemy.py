"""SQLAlchemy's asyncio extension on a database: db_sqlalchemy.py URL"""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import cycle
from typing import Any

from measured import FORM, POOL, ROWS, Operation, check, serve
from sqlalchemy import String, Text, event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Form(Base):
    __tablename__ = "form"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    created_at: Mapped[datetime]


def use_sqlite_well(connection: Any, record: object) -> None:
    connection.execute("PRAGMA journal_mode = wal").close()
    connection.execute("PRAGMA synchronous = normal").close()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Mapping[str, Operation]]:
    engine = create_async_engine(url, pool_size=POOL, max_overflow=0)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", use_sqlite_well)
    Session = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)  # noqa: N806  # as its documentation calls it
    keys = cycle(range(1, ROWS + 1))

    async def get() -> Form | None:
        async with Session() as session:
            return await session.get(Form, next(keys))

    async def insert() -> Form:
        async with Session.begin() as session:
            form = Form(**FORM)
            session.add(form)
        return form

    made = await insert()
    async with Session() as session:
        found = await session.get(Form, made.id)
    check({name: getattr(found, name) for name in FORM} == FORM, "it does not find the form that it made")
    yield {"get": get, "insert": insert}
    await engine.dispose()


serve(opened(sys.argv[1]))
