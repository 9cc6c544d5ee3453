"""Forms over HTTP."""

from __future__ import annotations

from aiohttp.web import HTTPNotFound, Request, Response

from eggycore.web import Problem, Router, json_response, read_json
from sample_app.forms import Form, Forms, Page
from sample_app.requests import DEFAULT_LIMIT, ID_DIGITS, Invalid, form_fields, page_bounds

__all__ = ["add_routes"]

PATH = "/api/v1/forms"


def add_routes(router: Router) -> None:
    """Record the routes."""
    router.post(PATH, create)
    router.get(PATH, read_page)
    router.get(f"{PATH}/{{id:[0-9]{{1,{ID_DIGITS}}}}}", read)


async def create(request: Request, forms: Forms) -> Response:
    """POST: store a form."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise Problem(422, "Not a form", "The body is no JSON object.")
    try:
        form = await forms.create(*form_fields(body.get("title"), body.get("description")))
    except Invalid as invalid:
        raise Problem(422, "Not a form", str(invalid), invalid.errors) from None
    return json_response(form, status=201, headers={"Location": f"{PATH}/{form['id']}"})


async def read_page(request: Request, forms: Forms) -> Page:
    """GET: a page of forms."""
    limit, after = request.query.get("limit", DEFAULT_LIMIT), request.query.get("after", 0)
    try:
        return await forms.page(*page_bounds(limit, after, forms.page_limit))
    except Invalid as invalid:
        raise Problem(422, "Not a page", str(invalid), invalid.errors) from None


async def read(request: Request, forms: Forms) -> Form:
    """GET: one form."""
    form = await forms.get(int(request.match_info["id"]))
    if form is None:
        raise HTTPNotFound(text="There is no form with this id.")
    return form
