"""An app as its users write it: a resource, bound to a handler that returns a dict. `eggycore run` does the rest."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from eggycore import Initializer, Runtime, hookimpl


class Forms:
    def get(self, id: str) -> dict[str, object]:
        return {"id": id, "title": "Survey", "fields": ["name", "age", "city"]}


@asynccontextmanager
async def open_forms() -> AsyncIterator[Forms]:
    yield Forms()


async def read(request: web.Request, forms: Forms) -> dict[str, object]:
    return forms.get(request.match_info["id"])


@hookimpl
def init_infra(runtime: Runtime) -> Initializer[Forms]:
    return Initializer(name="forms", open=open_forms, provides=Forms)


@hookimpl
def register_services(runtime: Runtime) -> None:
    runtime.http.get("/forms/{id}", read)
