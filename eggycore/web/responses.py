"""Answers: JSON by orjson, problems (RFC 9457), and the reading of JSON bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError

__all__ = [
    "PROBLEM",
    "JSONAnswer",
    "Problem",
    "UnusableAnswer",
    "json_response",
    "problem_of",
    "read_json",
    "to_response",
]

JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass(eq=False)
class UnusableAnswer(EggycoreError):
    """A handler returned something that is no answer.

    Args:
        type_name: The type of what it returned.
    """

    type_name: str


@diagnose.register
def _(error: UnusableAnswer) -> Diagnosis:
    return Diagnosis(
        description=f"A handler returned a value of type {error.type_name}, which is no answer.",
        action="Return a dict, a list, a dataclass, None (204) or a Response; for text, web.Response(text=...).",
    )


class JSONAnswer(web.Response):
    """What a handler's dict or list becomes: 200 with the body as JSON, and a `web.Response` in every respect.

    It is completed when somebody looks at its headers or changes something. Nobody does with most answers, and then
    it is made and sent in a fraction of the time.
    """

    _body: bytes
    _status = 200
    _reason = "OK"
    __http_exception__ = False  # aiohttp asks every response for it; it must not be missing, see __getattr__

    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def untouched(self) -> bool:
        """Whether nobody has looked at its headers or changed anything."""
        return len(self.__dict__) == 1

    def __getattr__(self, name: str) -> Any:
        if "_headers" in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__init__(body=self._body, status=self._status, reason=self._reason, content_type=JSON)
        return getattr(self, name)


class Problem(web.HTTPException):
    """Raise it to answer with `application/problem+json`.

    Args:
        status: HTTP status, 400 to 599.
        title: What kind of problem it is, the same text every time; the phrase of the status when empty.
        detail: What is wrong with this request.
        errors: One entry per wrong field, for example {"field": "title", "reason": "is missing"}.
        headers: Headers of the answer, for example {"Retry-After": "1"}.
        extra: More members of the body, of any JSON type.

    Example:
        >>> raise Problem(409, "Title taken", "There is already a form called 'Survey'.", form="42")
        Traceback (most recent call last):
        ...
        eggycore.web.responses.Problem: 409 Title taken: There is already a form called 'Survey'.
    """

    def __init__(
        self,
        status: int,
        title: str = "",
        detail: str = "",
        errors: Sequence[Mapping[str, object]] = (),
        *,
        headers: Mapping[str, str] | None = None,
        **extra: object,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"a problem has a status from 400 to 599, not {status}")
        self.title = title or HTTPStatus(status).phrase
        self.detail = detail
        self.errors = tuple(errors)
        self.extra = extra
        self.status_code = status  # read by the constructor of HTTPException
        super().__init__(headers=headers)
        self.headers["Content-Type"] = PROBLEM
        self.body = orjson.dumps(self._members())

    def __str__(self) -> str:
        return f"{self.status} {self.title}" + (f": {self.detail}" if self.detail else "")

    def _members(self) -> dict[str, object]:
        members: dict[str, object] = {"title": self.title, "status": self.status_code}
        if self.detail:
            members["detail"] = self.detail
        if self.errors:
            members["errors"] = self.errors
        return members | self.extra


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer with the body as JSON.

    Args:
        body: What orjson can write: dict, list, str, numbers, dataclasses, datetime, UUID, enum.
        status: HTTP status.
        headers: More headers, for example {"Location": "/forms/7"}.
    """
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type=JSON)


async def read_json(request: web.BaseRequest) -> object:
    """The body of the request, read as JSON.

    Raises:
        Problem: 400, the body is empty or is not JSON.
        HTTPRequestEntityTooLarge: 413, it is longer than HTTP_MAX_BODY_SIZE.
    """
    body = await request.read()
    if not body:
        raise Problem(400, "No body", "The request has no body; send JSON.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(
            400, "Not JSON", f"The body is not valid JSON: {error.msg}, line {error.lineno} column {error.colno}."
        ) from None


def to_response(answer: object) -> web.StreamResponse:
    """What a handler returned, as a response: dict, list or dataclass become JSON, None becomes 204.

    Raises:
        UnusableAnswer: It is none of these, nor a response.
        HTTPException: It is one.
    """
    kind = type(answer)
    if kind is dict or kind is list:
        return JSONAnswer(orjson.dumps(answer))
    if isinstance(answer, web.StreamResponse):
        if isinstance(answer, web.HTTPException):
            raise answer  # so that it is answered like one that was raised, as a problem
        return answer
    if answer is None:
        return web.Response(status=204)
    if isinstance(answer, dict | list) or (is_dataclass(answer) and not isinstance(answer, type)):
        return JSONAnswer(orjson.dumps(answer))
    raise UnusableAnswer(kind.__qualname__)


def problem_of(error: web.HTTPException) -> web.Response:
    """The answer for an HTTPException: a problem for an error without a body of its own, else what it says itself.

    Its headers and cookies are kept. A text given to it becomes the problem's detail, a reason its title.
    """
    if isinstance(error, Problem) or error.status < 400 or error.content_type != "text/plain":
        return _copied(error, error.body)
    members: dict[str, object] = {"title": error.reason, "status": error.status}
    if error.text and error.text != f"{error.status}: {error.reason}":
        members["detail"] = error.text
    answer = _copied(error, orjson.dumps(members))
    answer.headers["Content-Type"] = PROBLEM
    return answer


def _copied(error: web.HTTPException, body: Any) -> web.Response:
    answer = web.Response(status=error.status, reason=error.reason, headers=error.headers, body=body)
    answer.cookies.update(error.cookies)
    return answer
