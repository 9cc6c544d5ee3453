"""eggycore on a database, opened as an app opens it, with metrics: db_eggycore.py DSN FORM

FORM says how a transaction is written: "function", given to `db.run`, or "block", `async with db.transaction()`.
"""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import cycle

from measured import FORM, POOL, ROWS, Operation, check, serve
from peewee import AutoField, CharField, DateTimeField, IntegerField, TextField

from eggycore.config import Secret
from eggycore.metrics import Registry
from eggycore_db import DatabaseInitializer, DatabaseSettings, Model
from eggycore_db.instruments import Instruments


class Form(Model):
    id = AutoField()
    title = CharField(max_length=200)
    description = TextField()
    version = IntegerField()
    created_at = DateTimeField()

    class Meta:
        table_name = "form"


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Mapping[str, Operation]]:
    settings = DatabaseSettings(dsn=Secret(dsn), max_open_conns=POOL, auto_tables=False, migrations="off")
    keys = cycle(range(1, ROWS + 1))
    async with DatabaseInitializer(settings, instruments=Instruments(Registry())).open() as db:

        async def get() -> Form:
            return await db.get(Form, next(keys))

        def in_function() -> Form:
            with db.atomic():
                return Form.create(**FORM)

        async def by_function() -> Form:
            return await db.run(in_function)

        async def by_block() -> Form:
            async with db.transaction():
                return await db.create(Form, **FORM)

        insert = {"function": by_function, "block": by_block}[sys.argv[2]]
        made = await insert()
        found = await db.get(Form, made.id)
        check({name: getattr(found, name) for name in FORM} == FORM, "it does not find the form that it made")
        yield {"get": get, "insert": insert}


serve(opened(sys.argv[1]))
