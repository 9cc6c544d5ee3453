"""What a handler asks for, under `from __future__ import annotations` as here."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.web.needs import HandlerRefused, Need, needs_of

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers

    from aiohttp.web import Request


class Database:
    pass


class Cache:
    pass


def test_parameters_after_the_request_are_needs_in_their_order():
    async def read(request: Request, db: Database, /, *, cache: Cache) -> OnlyForCheckers: ...

    assert needs_of(read) == (Need("db", Database), Need("cache", Cache))


def test_parameters_with_a_default_and_catch_alls_are_left_alone():
    async def read(request, db: Database, limit: int = 10, *rest, **more): ...

    assert needs_of(read) == (Need("db", Database),)


class Forms:
    async def read(self, request, db: Database): ...

    async def __call__(self, request, cache: Cache): ...

    @staticmethod
    async def plain(request, db: Database): ...


async def with_prefix(prefix, request, db: Database): ...


@functools.wraps(Forms.read)
async def decorated(*args, **kwargs): ...


@pytest.mark.parametrize(
    ("handler", "needs"),
    [
        (Forms().read, (Need("db", Database),)),
        (Forms(), (Need("cache", Cache),)),
        (Forms.plain, (Need("db", Database),)),
        (functools.partial(with_prefix, "x"), (Need("db", Database),)),
        (decorated.__get__(Forms()), (Need("db", Database),)),
    ],
    ids=["method", "object", "static", "partial", "decorated"],
)
def test_every_kind_of_callable_is_understood(handler, needs):
    assert needs_of(handler) == needs


def test_a_type_of_an_enclosing_function_is_found_when_the_handler_uses_it():
    class Local:
        pass

    async def read(request, local: Local):
        return Local

    assert needs_of(read) == (Need("local", Local),)


def sync(request): ...


async def no_request(): ...


async def untyped(request, db): ...


async def unknown(request, db: Nowhere): ...  # noqa: F821 - the mistake that is tested


async def checkers_only(request, amount: OnlyForCheckers): ...


async def union(request, db: Database | None): ...


def test_a_coroutine_in_the_place_of_a_handler_is_refused_and_closed() -> None:
    with pytest.raises(HandlerRefused) as caught:
        needs_of(untyped(None, None))
    assert render(diagnose(caught.value)) == (
        "Handler untyped is a coroutine, not a function.\n  action: Hand over untyped, without calling it."
    )


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (
            sync,
            "Handler {here}.sync is not async, and would hold up every other request while it runs.\n"
            "  action: Write `async def`; put what blocks into `await asyncio.to_thread(...)`.",
        ),
        (
            no_request,
            "Handler {here}.no_request takes no request.\n  action: Make `request` its first parameter.",
        ),
        (
            untyped,
            "Handler {here}.untyped has a parameter 'db' without a type.\n"
            "  action: Annotate 'db' with the type of the resource it is to receive, or give it a default.",
        ),
        (
            unknown,
            "Handler {here}.unknown has a parameter 'db' whose type 'Nowhere' cannot be found: "
            "name 'Nowhere' is not defined.\n"
            "  action: Import the type when the module is loaded, not only under TYPE_CHECKING.",
        ),
        (
            checkers_only,
            "Handler {here}.checkers_only has a parameter 'amount' whose type 'OnlyForCheckers' cannot be found: "
            "name 'OnlyForCheckers' is not defined.\n"
            "  action: Import the type when the module is loaded, not only under TYPE_CHECKING.",
        ),
        (
            union,
            "Handler {here}.union has a parameter 'db' of type Database | None, which is not a class.\n"
            "  action: Annotate it with the class under which the resource is provided.",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_handler_that_cannot_be_bound_is_refused_by_name(handler, message):
    with pytest.raises(HandlerRefused) as caught:
        needs_of(handler)
    assert render(diagnose(caught.value)) == message.format(here=__name__)
