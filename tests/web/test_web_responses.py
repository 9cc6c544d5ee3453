"""JSON responses, problems, and reading JSON bodies."""

from __future__ import annotations

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from eggycore.web.connection import draining
from eggycore.web.middleware.identity import trace_id_of
from eggycore.web.responses import Problem, json_response, problem_of, read_json, to_response


def test_json_response_takes_status_and_headers():
    response = json_response({"id": 7}, status=201, headers={"Location": "/forms/7"})
    assert (response.status, response.body, response.content_type) == (201, b'{"id":7}', "application/json")
    assert response.headers["Location"] == "/forms/7"


def test_a_problem_has_the_members_of_rfc_9457_and_more():
    problem = Problem(
        422, "Invalid form", "Two fields are wrong.", [{"field": "title", "reason": "is missing"}], form="7"
    )
    assert problem.content_type == "application/problem+json"
    assert orjson.loads(problem.body) == {
        "title": "Invalid form",
        "status": 422,
        "detail": "Two fields are wrong.",
        "errors": [{"field": "title", "reason": "is missing"}],
        "form": "7",
    }
    assert str(problem) == "422 Invalid form: Two fields are wrong."


def test_a_problem_without_a_title_is_named_by_its_status():
    assert orjson.loads(Problem(409).body) == {"title": "Conflict", "status": 409}


@pytest.mark.parametrize("status", [200, 302, 600])
def test_a_problem_is_an_error(status):
    with pytest.raises(ValueError, match=f"a problem has a status from 400 to 599, not {status}"):
        Problem(status)


@pytest.mark.parametrize(
    ("error", "members"),
    [
        (web.HTTPNotFound(), {"title": "Not Found", "status": 404}),
        (web.HTTPConflict(text="taken"), {"title": "Conflict", "status": 409, "detail": "taken"}),
        (web.HTTPBadRequest(reason="No title"), {"title": "No title", "status": 400}),
    ],
)
def test_an_exception_of_aiohttp_becomes_a_problem(error, members):
    response = problem_of(error)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert orjson.loads(response.body) == members


def test_an_exception_with_a_body_of_its_own_keeps_it():
    response = problem_of(web.HTTPBadRequest(text="<p>no</p>", content_type="text/html"))
    assert (response.status, response.text, response.content_type) == (400, "<p>no</p>", "text/html")


def test_headers_and_cookies_of_an_exception_are_kept():
    error = web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
    error.set_cookie("session", "", max_age=0)
    response = problem_of(error)
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.cookies["session"]["max-age"] == "0"


def test_a_redirect_stays_a_redirect():
    response = problem_of(web.HTTPFound("/elsewhere"))
    assert (response.status, response.headers["Location"]) == (302, "/elsewhere")
    assert not isinstance(response, web.HTTPException)


def request_with(body: bytes):
    request = make_mocked_request("POST", "/")
    request._read_bytes = body
    return request


async def test_a_json_body_is_read():
    assert await read_json(request_with(b'{"title": "Survey"}')) == {"title": "Survey"}


@pytest.mark.parametrize(
    ("body", "title", "detail"),
    [
        (b"", "No body", "The request has no body; send JSON."),
        (
            b'{"a":',
            "Not JSON",
            "The body is not valid JSON: unexpected end of data, line 1 column 6.",
        ),
        (b"\xff", "Not JSON", None),
    ],
)
async def test_a_body_that_is_not_json_is_a_problem_that_says_where(body, title, detail):
    with pytest.raises(Problem) as caught:
        await read_json(request_with(body))
    assert (caught.value.status, caught.value.title) == (400, title)
    assert detail is None or caught.value.detail == detail


def test_draining_wants_a_request_of_our_server():
    with pytest.raises(TypeError, match="a request that eggycore's HTTPServer is serving"):
        draining(make_mocked_request("GET", "/"))


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f" 00-{TRACE}-00f067aa0ba902b7-00 ", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-future", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_trace_id_is_taken_from_a_valid_traceparent_only(header, trace_id):
    assert trace_id_of(header) == trace_id


def test_the_json_of_a_handler_is_a_response_in_every_respect():
    answer = to_response({"a": 1})
    assert (answer.status, answer.reason, answer.body, answer.text) == (200, "OK", b'{"a":1}', '{"a":1}')
    assert dict(answer.headers) == {"Content-Type": "application/json"}
    with pytest.raises(AttributeError, match="'JSONAnswer' object has no attribute 'nothing'"):
        answer.nothing  # noqa: B018  # reading it raises


def test_what_is_changed_before_the_headers_are_looked_at_stays():
    answer = to_response({"a": 1})
    answer.set_status(201)
    answer.body = b"{}"
    answer.force_close()
    answer.set_cookie("a", "b")
    answer.headers["Location"] = "/a"
    assert (answer.status, answer.reason, answer.body, answer.keep_alive) == (201, "Created", b"{}", False)
    assert dict(answer.headers) == {"Content-Type": "application/json", "Location": "/a"}
    assert answer.cookies["a"].value == "b"


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer.set_status(201),
        lambda answer: answer.set_cookie("a", "b"),
        lambda answer: answer.enable_compression(),
        lambda answer: answer.force_close(),
        lambda answer: answer.headers,
        lambda answer: setattr(answer, "body", b"{}"),
    ],
)
def test_a_change_is_noticed(change):
    answer = to_response({"a": 1})
    assert answer.untouched
    change(answer)
    assert not answer.untouched
