"""Forms over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eggycore.config.sources import Layer
from eggycore_cache import CacheService
from eggycore_db import Database
from sample_app.forms import FormRow

FORMS = "/api/v1/forms"
PROBLEM = "application/problem+json"


async def _create(service: Any, **fields: object) -> dict[str, Any]:
    response = await service.http.post(FORMS, json=fields)
    assert response.status == 201
    created: dict[str, Any] = await response.json()
    return created


async def test_a_form_is_created_and_found_at_its_location(serve: Any) -> None:
    service = await serve()

    created = await service.http.post(FORMS, json={"title": "Survey", "description": "Yearly"})

    assert created.status == 201
    form = await created.json()
    assert created.headers["Location"] == f"{FORMS}/{form['id']}"
    assert form == {"id": form["id"], "title": "Survey", "description": "Yearly"}
    found = await service.http.get(created.headers["Location"])
    assert (found.status, await found.json()) == (200, form)


async def test_the_description_is_optional(serve: Any) -> None:
    service = await serve()

    assert (await _create(service, title="x" * 200))["description"] is None
    assert (await _create(service, title="x", description=None))["description"] is None


@pytest.mark.parametrize("form_id", ["1", "0", "999999999999999999", "99999999999999999999", "x", "-1"])
async def test_a_form_that_is_not_there_is_not_found(serve: Any, form_id: str) -> None:
    response = await (await serve()).http.get(f"{FORMS}/{form_id}")

    assert (response.status, response.content_type) == (404, PROBLEM)


@pytest.mark.parametrize("body", [b"", b"{", b"title=x", b'{"title": "\xff"}'])
async def test_a_body_that_is_not_json_is_refused(serve: Any, body: bytes) -> None:
    response = await (await serve()).http.post(FORMS, data=body)

    assert (response.status, response.content_type) == (400, PROBLEM)


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"title": "is missing"}),
        ({"title": None}, {"title": "is missing"}),
        ({"title": ""}, {"title": "is not a text of 1 to 200 characters"}),
        ({"title": "x" * 201}, {"title": "is not a text of 1 to 200 characters"}),
        (
            {"title": 7, "description": ["no"]},
            {"title": "is not a text of 1 to 200 characters", "description": "is not a text"},
        ),
    ],
)
async def test_every_wrong_field_is_named(serve: Any, body: object, errors: dict[str, str]) -> None:
    response = await (await serve()).http.post(FORMS, json=body)

    assert (response.status, response.content_type) == (422, PROBLEM)
    problem = await response.json()
    assert problem["errors"] == [{"field": field, "reason": reason} for field, reason in errors.items()]
    assert problem["title"] == "Not a form"
    assert problem["detail"] == "; ".join(f"{field} {reason}" for field, reason in errors.items())


@pytest.mark.parametrize("body", [b"[]", b'"form"', b"7", b"null"])
async def test_a_body_that_is_no_object_is_refused(serve: Any, body: bytes) -> None:
    response = await (await serve()).http.post(FORMS, data=body)

    assert (response.status, response.content_type) == (422, PROBLEM)
    assert (await response.json())["detail"] == "The body is no JSON object."


async def test_pages_follow_each_other_until_the_last(serve: Any) -> None:
    service = await serve()
    forms = [await _create(service, title=f"form {number}") for number in range(5)]

    listed, after = [], 0
    while after is not None:
        page = await (await service.http.get(FORMS, params={"limit": 2, "after": after})).json()
        listed.append(page["items"])
        after = page["next"]

    assert listed == [forms[:2], forms[2:4], forms[4:]]


async def test_a_page_has_twenty_forms_unless_asked_otherwise(serve: Any) -> None:
    service = await serve()
    await asyncio.gather(*(_create(service, title="form") for _ in range(21)))

    page = await (await service.http.get(FORMS)).json()

    assert len(page["items"]) == 20
    assert page["next"] == page["items"][-1]["id"]


async def test_without_forms_the_page_is_empty(serve: Any) -> None:
    response = await (await serve()).http.get(FORMS)

    assert await response.json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=0", ["limit"]),
        ("limit=31", ["limit"]),
        ("limit=ten", ["limit"]),
        ("after=-1", ["after"]),
        ("limit=&after=1.5", ["limit", "after"]),
        ("limit=%C2%B2&after=9999999999999999999", ["limit", "after"]),
    ],
)
async def test_a_page_that_cannot_be_is_refused(serve: Any, query: str, fields: list[str]) -> None:
    response = await (await serve(FORMS_PAGE_LIMIT="30")).http.get(f"{FORMS}?{query}")

    assert (response.status, response.content_type) == (422, PROBLEM)
    problem = await response.json()
    assert [error["field"] for error in problem["errors"]] == fields
    assert problem["title"] == "Not a page"


async def test_another_limit_counts_from_the_reload_on(serve: Any) -> None:
    service = await serve()
    assert (await service.http.get(f"{FORMS}?limit=50")).status == 200
    layer = Layer("ConfigMap", {"FORMS_PAGE_LIMIT": "30"})
    assert (await service.runtime.overlay("map", [layer])).outcome == "applied"
    assert (await service.http.get(f"{FORMS}?limit=50")).status == 422


async def test_a_form_is_read_from_the_cache_once_it_was_read(serve: Any) -> None:
    service = await serve()
    form = await _create(service, title="Survey")
    path = f"{FORMS}/{form['id']}"
    await service.http.get(path)

    await service.runtime.get(Database).execute(FormRow.delete())

    assert await (await service.http.get(path)).json() == form
    await service.runtime.get(CacheService).delete(f"form:{form['id']}")
    assert (await service.http.get(path)).status == 404


async def test_new_forms_are_counted(serve: Any) -> None:
    service = await serve()
    await _create(service, title="Survey")

    counted = [
        family.samples[0].value for family in service.runtime.metrics.collect() if family.name == "forms_created_total"
    ]

    assert counted == [1]


async def test_readiness_has_a_check_of_forms(serve: Any) -> None:
    report = await (await (await serve()).health.get("/healthz")).json()

    assert report["checks"] == {"database": "OK", "cache": "OK", "forms": "OK"}
