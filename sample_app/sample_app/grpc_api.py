"""Forms over gRPC. Imported only when gRPC is served."""

from __future__ import annotations

from typing import Any

from grpc import StatusCode
from grpc.aio import ServicerContext

from sample_app.forms import Forms
from sample_app.generated.forms.v1 import forms_pb2 as pb
from sample_app.generated.forms.v1.forms_pb2_grpc import FormsServicer, add_FormsServicer_to_server
from sample_app.requests import DEFAULT_LIMIT, Invalid, form_fields, page_bounds

__all__ = ["FormsService", "add_FormsServicer_to_server"]


class FormsService(FormsServicer):
    """The service forms.v1.Forms."""

    def __init__(self, forms: Forms) -> None:
        self._forms = forms

    async def CreateForm(self, request: pb.CreateFormRequest, context: ServicerContext[Any, Any]) -> pb.Form:
        """Store a form."""
        description = request.description if request.HasField("description") else None
        try:
            return pb.Form(**await self._forms.create(*form_fields(request.title, description)))
        except Invalid as invalid:
            await context.abort(StatusCode.INVALID_ARGUMENT, str(invalid))

    async def GetForm(self, request: pb.GetFormRequest, context: ServicerContext[Any, Any]) -> pb.Form:
        """One form."""
        form = await self._forms.get(request.id)
        if form is None:
            await context.abort(StatusCode.NOT_FOUND, "There is no form with this id.")
        return pb.Form(**form)

    async def ListForms(self, request: pb.ListFormsRequest, context: ServicerContext[Any, Any]) -> pb.ListFormsResponse:
        """A page of forms."""
        limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
        try:
            return pb.ListFormsResponse(
                **await self._forms.page(*page_bounds(limit, request.after, self._forms.page_limit))
            )
        except Invalid as invalid:
            await context.abort(StatusCode.INVALID_ARGUMENT, str(invalid))
