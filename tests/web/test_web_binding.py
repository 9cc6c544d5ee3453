"""Binding handlers to resources and middlewares, and what their return values become."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from eggycore.resources import ResourceMissing, Resources
from eggycore.web.binding import bind
from eggycore.web.responses import UnusableAnswer
from eggycore.web.routes import Router


class Database:
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def resources():
    resources = Resources()
    resources.provide(Database, Database("forms"))
    return resources


@pytest.fixture
def answer_of(resources):
    async def answer_of(handler, *middlewares):
        route = Router().group("", *middlewares).get("/", handler)
        return await bind(route, resources)(make_mocked_request("GET", "/"))

    return answer_of


async def test_a_handler_receives_its_resources(answer_of):
    async def read(request, db: Database):
        return {"path": request.path, "db": db.name}

    response = await answer_of(read)
    assert response.body == b'{"path":"/","db":"forms"}'


async def test_resources_are_looked_up_when_the_handler_is_bound_not_at_every_request(resources):
    async def read(request, db: Database):
        return [db.name]

    bound = bind(Router().get("/", read), resources)
    resources.withdraw(Database)
    assert (await bound(make_mocked_request("GET", "/"))).body == b'["forms"]'


def test_a_resource_that_is_not_open_is_named_with_route_and_parameter(resources):
    async def read(request, number: int): ...

    with pytest.raises(ResourceMissing) as caught:
        bind(Router().get("/forms", read), resources)
    assert str(caught.value) == "No resource of type int is open."
    assert caught.value.__notes__ == ["It is wanted by GET /forms, parameter 'number'."]


@dataclass
class Form:
    title: str


class Body(dict):
    pass


@pytest.mark.parametrize(
    ("value", "status", "body", "content_type"),
    [
        ({"a": 1}, 200, b'{"a":1}', "application/json"),
        ([1, "two"], 200, b'[1,"two"]', "application/json"),
        (Form("Survey"), 200, b'{"title":"Survey"}', "application/json"),
        (Body(a=1), 200, b'{"a":1}', "application/json"),
        ({}, 200, b"{}", "application/json"),
        (None, 204, None, "application/octet-stream"),
    ],
)
async def test_what_a_handler_returns_becomes_a_response(answer_of, value, status, body, content_type):
    async def read(request):
        return value

    response = await answer_of(read)
    assert (response.status, response.body, response.content_type) == (status, body, content_type)


async def test_a_response_is_taken_as_it_is(answer_of):
    made = web.Response(text="hello", status=202)

    async def read(request):
        return made

    assert await answer_of(read) is made


@pytest.mark.parametrize("value", ["text", 7, object(), Form, (1, 2)])
async def test_anything_else_is_no_answer(answer_of, value):
    async def read(request):
        return value

    with pytest.raises(UnusableAnswer, match=rf"A handler returned a value of type {type(value).__qualname__}, which"):
        await answer_of(read)


async def test_middlewares_wrap_the_handler_the_first_one_outermost(answer_of):
    order = []

    def recording(name):
        async def middleware(request, handler):
            order.append(name)
            response = await handler(request)
            response.headers["Seen-By"] = f"{response.headers.get('Seen-By', '')}{name}"
            return response

        return middleware

    async def read(request):
        return {}

    response = await answer_of(read, recording("a"), recording("b"))
    assert (order, response.headers["Seen-By"]) == (["a", "b"], "ba")


async def test_a_middleware_of_aiohttp_fits_and_may_answer_in_place_of_the_handler(answer_of):
    @web.middleware
    async def closed(request, handler):
        return {"closed": True}

    async def read(request):
        raise AssertionError("not reached")

    assert (await answer_of(read, closed)).body == b'{"closed":true}'
