"""Recording routes: groups, duplicates, what is refused, and closing."""

from __future__ import annotations

import pytest

from eggycore.diagnostics import diagnose, render
from eggycore.web.needs import HandlerRefused
from eggycore.web.routes import Router, RouterClosed, RouteRefused


async def read(request):
    return {}


async def other(request):
    return {}


async def guard(request, handler):
    return await handler(request)


async def audit(request, handler):
    return await handler(request)


def test_routes_are_kept_in_the_order_of_recording():
    router = Router()
    router.get("/forms/{id}", read)
    router.post("/forms", read)
    router.put("/forms/{id}", read)
    router.patch("/forms/{id}", read)
    router.delete("/forms/{id}", read)
    router.route("options", "/forms", read)
    assert [str(route) for route in router.routes] == [
        "GET /forms/{id}",
        "POST /forms",
        "PUT /forms/{id}",
        "PATCH /forms/{id}",
        "DELETE /forms/{id}",
        "OPTIONS /forms",
    ]


def test_a_group_adds_its_prefix_and_its_middlewares_outermost_first():
    router = Router()
    api = router.group("/api", guard)
    forms = api.group("/v1", audit)
    route = forms.get("/forms", read)
    assert str(route) == "GET /api/v1/forms"
    assert route.middlewares == (guard, audit)
    assert router.get("/plain", read).middlewares == ()
    assert router.routes == api.routes == forms.routes


def test_a_group_needs_no_prefix():
    route = Router().group("", guard).get("/forms", read)
    assert (route.path, route.middlewares) == ("/forms", (guard,))


@pytest.mark.parametrize("path", ["/forms/{id}", "/forms/{name}"])
def test_a_second_handler_for_the_same_requests_is_refused_and_both_are_named(path):
    router = Router()
    router.get("/forms/{id}", read)
    with pytest.raises(RouteRefused) as caught:
        router.group("/forms").get(path.removeprefix("/forms"), other)
    assert render(diagnose(caught.value)) == (
        f"Route GET {path} is recorded twice, for {__name__}.read and for {__name__}.other.\n"
        "  action: Give one of them another path or method."
    )


def test_another_method_or_another_pattern_is_another_route():
    router = Router()
    router.get("/forms/{id}", read)
    router.delete("/forms/{id}", read)
    router.get(r"/forms/{id:\d+}", read)
    router.route("*", "/forms/{id}", read)
    assert len(router.routes) == 4


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET IT", "/x", "Route GET IT /x has a method that is none."),
        ("GET", "x", "Route GET x has a path without a leading slash."),
        ("GET", "/x/{1d}", "Route GET /x/{1d} has a part '/x/{1d}' with a stray brace."),
        ("GET", "/x/{id", "Route GET /x/{id has a part '/x/{id' with a stray brace."),
        ("GET", "/{a}/{a}", "Route GET /{a}/{a} names the variable 'a' twice."),
        (
            "GET",
            "/{a:[}",
            "Route GET /{a:[} has a pattern '[' that is wrong: unterminated character set at position 0.",
        ),
    ],
)
def test_a_route_that_cannot_be_is_refused(method, path, message):
    with pytest.raises(RouteRefused) as caught:
        Router().route(method, path, read)
    assert str(caught.value) == message
    assert diagnose(caught.value).action


@pytest.mark.parametrize("prefix", ["api", "/api/"])
def test_a_group_with_a_crooked_prefix_is_refused(prefix):
    with pytest.raises(RouteRefused, match="does not start with a slash, or ends with one"):
        Router().group(prefix)


def test_a_closed_router_takes_no_route_not_even_through_a_group():
    router = Router()
    api = router.group("/api")
    router.close()
    with pytest.raises(RouterClosed) as caught:
        api.get("/late", read)
    assert render(diagnose(caught.value)) == (
        "Route GET /api/late was added after the plan was made.\n"
        "  cause:  Routes are recorded once, so that a missing resource is found before anything opens.\n"
        "  action: Add it in register_services; to answer differently later, decide inside the handler."
    )


def test_a_handler_that_is_refused_is_not_recorded():
    router = Router()
    with pytest.raises(HandlerRefused):
        router.get("/x", lambda request: {})
    assert router.routes == ()


def test_recording_routes_imports_no_server(python_that_imported):
    assert not python_that_imported("eggycore.web.routes") & {"aiohttp", "orjson", "environs", "structlog"}
