"""An app on a database: routes that hold connections in every way, and a start that can be made to wait."""

import asyncio
import os

import peewee

from eggycore import hookimpl, log
from eggycore_db import Database, Model, Repository, get_db, register_repository

SLEEP = {"postgresql": "SELECT pg_sleep({})", "mysql": "SELECT SLEEP({})"}


class Form(Model):
    title = peewee.CharField(max_length=200)


@register_repository
class Forms(Repository):
    model = Form


def nap(db, seconds):
    return db.peewee.execute_sql(SLEEP[db.kind].format(seconds)).fetchall()


async def create(request, db: Database):
    return {"id": (await db.create(Form, title=request.query.get("title", "new"))).id}


async def count(request, db: Database):
    return {"forms": await db.scalar(Form.select(peewee.fn.COUNT(Form.id)))}


async def sleep(request, db: Database):
    seconds = float(request.query["seconds"])
    log.warn("busy")
    await db.run(nap, db, seconds)
    return {"slept": seconds}


async def hold(request, db: Database):
    """A transaction that has written and waits."""
    async with db.transaction():
        await db.create(Form, title="half")
        log.warn("busy")
        await asyncio.sleep(float(request.query["seconds"]))
        await db.create(Form, title="half")
    return {"held": True}


async def iterate(request, db: Database):
    """An iteration that is suspended in the middle."""
    async for _ in db.iterate(Form.select()):
        log.warn("busy")
        await asyncio.sleep(float(request.query["seconds"]))
        break
    return {"iterated": True}


async def bulk(request, db: Database):
    """Rows without an end, in batches."""

    async def rows():
        number = 0
        while True:
            number += 1
            if number == 5000:
                log.warn("busy")
            yield {"title": f"bulk {number}"}

    await db.bulk_insert(Form, rows(), batch_size=500)
    return {}


class Calls:
    async def create(self, request, context):
        return str((await get_db().create(Form, title="rpc")).id).encode()


def add_to_server(servicer, server):
    import grpc

    create = grpc.unary_unary_rpc_method_handler(servicer.create)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("data.Data", {"Create": create}),))


@hookimpl
def register_services(runtime):
    runtime.http.post("/forms", create)
    runtime.http.get("/forms", count)
    runtime.http.post("/sleep", sleep)
    runtime.http.post("/hold", hold)
    runtime.http.post("/iterate", iterate)
    runtime.http.post("/bulk", bulk)
    runtime.grpc.add(add_to_server, Calls())


if os.environ.get("WARM_UP"):
    from eggycore_cache import warm_up

    @warm_up
    async def fill(cache):
        log.warn("hanging")
        await get_db().run(nap, get_db(), float(os.environ["WARM_UP"]))
