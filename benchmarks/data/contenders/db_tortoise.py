"""Tortoise ORM on a database: db_tortoise.py URL"""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import cycle

from measured import FORM, POOL, ROWS, Operation, check, serve
from tortoise import Tortoise, fields
from tortoise.models import Model
from tortoise.transactions import in_transaction


class Form(Model):
    id = fields.IntField(primary_key=True)
    title = fields.CharField(max_length=200)
    description = fields.TextField()
    version = fields.IntField()
    created_at = fields.DatetimeField()

    class Meta:
        table = "form"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Mapping[str, Operation]]:
    await Tortoise.init(db_url=f"{url}?minsize={POOL}&maxsize={POOL}", modules={"models": ["__main__"]}, use_tz=False)
    keys = cycle(range(1, ROWS + 1))

    async def get() -> Form:
        return await Form.get(id=next(keys))

    async def insert() -> Form:
        async with in_transaction():
            return await Form.create(**FORM)

    made = await insert()
    found = await Form.get(id=made.id)
    check({name: getattr(found, name) for name in FORM} == FORM, "it does not find the form that it made")
    yield {"get": get, "insert": insert}
    await Tortoise.close_connections()


serve(opened(sys.argv[1]))
