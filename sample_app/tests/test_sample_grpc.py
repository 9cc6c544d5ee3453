"""Forms over gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest

from sample_app.generated.forms.v1.forms_pb2 import CreateFormRequest, Form, GetFormRequest, ListFormsRequest
from sample_app.generated.forms.v1.forms_pb2_grpc import FormsStub


async def _stub(service: Any) -> Any:
    return FormsStub(await service.channel())


async def _status(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), error.value.details()


async def test_a_form_that_was_created_is_found(serve: Any) -> None:
    forms = await _stub(await serve())

    created = await forms.CreateForm(CreateFormRequest(title="Survey", description="Yearly"))

    assert created == Form(id=created.id, title="Survey", description="Yearly")
    assert await forms.GetForm(GetFormRequest(id=created.id)) == created


async def test_a_form_without_a_description_has_none(serve: Any) -> None:
    created = await (await _stub(await serve())).CreateForm(CreateFormRequest(title="Survey"))

    assert not created.HasField("description")


async def test_http_and_grpc_see_the_same_forms(serve: Any) -> None:
    service = await serve()
    created = await (await _stub(service)).CreateForm(CreateFormRequest(title="Survey"))

    response = await service.http.get(f"/api/v1/forms/{created.id}")

    assert await response.json() == {"id": created.id, "title": "Survey", "description": None}


@pytest.mark.parametrize("title", ["", "x" * 201])
async def test_a_wrong_title_is_an_invalid_argument(serve: Any, title: str) -> None:
    forms = await _stub(await serve())

    assert await _status(forms.CreateForm(CreateFormRequest(title=title))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "title is not a text of 1 to 200 characters",
    )


@pytest.mark.parametrize("form_id", [0, 1, -1, 2**63 - 1])
async def test_a_form_that_is_not_there_is_not_found(serve: Any, form_id: int) -> None:
    forms = await _stub(await serve())

    assert await _status(forms.GetForm(GetFormRequest(id=form_id))) == (
        grpc.StatusCode.NOT_FOUND,
        "There is no form with this id.",
    )


async def test_pages_follow_each_other_until_the_last(serve: Any) -> None:
    forms = await _stub(await serve())
    created = [await forms.CreateForm(CreateFormRequest(title=f"form {number}")) for number in range(3)]

    first = await forms.ListForms(ListFormsRequest(limit=2))
    last = await forms.ListForms(ListFormsRequest(limit=2, after=first.next))

    assert list(first.items) == created[:2]
    assert list(last.items) == created[2:]
    assert not last.HasField("next")


async def test_a_page_that_cannot_be_is_an_invalid_argument(serve: Any) -> None:
    forms = await _stub(await serve())

    assert await _status(forms.ListForms(ListFormsRequest(limit=0, after=-1))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "limit is not a whole number from 1 to 100; after is not the `next` of a page",
    )


async def test_without_grpc_only_http_is_served(serve: Any) -> None:
    service = await serve(ENABLE_BUSINESS_GRPC="false")

    assert "grpc" not in service.runtime.addresses
    assert (await service.http.get("/api/v1/forms")).status == 200
