"""Reads what the API server answers: bodies within bounds, objects, and the errors that its Status objects tell."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from eggycore_k8s_watch.errors import (
    ApiFailed,
    ApiRefused,
    BadAnswer,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    TooManyRequests,
    Unauthorized,
)
from eggycore_k8s_watch.objects import Collection, Object

if TYPE_CHECKING:
    from aiohttp import ClientResponse

__all__ = ["BODY_LIMIT", "Asked", "as_object", "body_of", "refusal", "refusal_of"]

BODY_LIMIT = 64 * 1_048_576
"""Bytes of one answer: a page of a list."""

LONGEST_WAIT = 300.0
"""Seconds that a server may ask to wait; more is taken as this."""

_ERRORS: dict[int, type[ApiRefused]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: TooManyRequests,
}

_USER = re.compile(r'User "([^"]+)" cannot')


class Asked:
    """One request, for what an error has to say about it."""

    __slots__ = ("collection", "credentials", "name", "namespace", "server", "verb")

    def __init__(
        self, *, server: str, verb: str, collection: Collection, namespace: str, name: str, credentials: str
    ) -> None:
        self.server = server
        self.verb = verb
        self.collection = collection
        self.namespace = namespace
        self.name = name
        self.credentials = credentials


async def body_of(response: ClientResponse, asked: Asked, limit: int = BODY_LIMIT) -> bytes:
    """The whole body.

    Raises:
        BadAnswer: It has more bytes than the limit.
    """
    parts: list[bytes] = []
    length = 0
    async for part in response.content.iter_any():
        length += len(part)
        if length > limit:
            response.close()
            raise BadAnswer(asked.server, f"is longer than {limit // 1_048_576} MiB")
        parts.append(part)
    return b"".join(parts)


def as_object(content: bytes, asked: Asked) -> Object:
    """The JSON object that the bytes are.

    Raises:
        BadAnswer: They are none.
    """
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise BadAnswer(asked.server, "is no JSON") from None  # its text would show what stands there
    if not isinstance(parsed, dict):
        raise BadAnswer(asked.server, "is no JSON object")
    return parsed


def refusal_of(response: ClientResponse, content: bytes, asked: Asked) -> ApiRefused:
    """The error that an answer is, from its status, its Status object and its Retry-After."""
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:  # an error of something in between, which speaks no JSON
        parsed = {"message": content[:1000].decode("utf-8", "replace")}
    status = parsed if isinstance(parsed, dict) else {}
    return refusal(status, asked, code=response.status, wait=_seconds(response.headers.get("Retry-After")))


def refusal(status: Object, asked: Asked, *, code: int | None = None, wait: float | None = None) -> ApiRefused:
    """The error that a Status object is.

    Args:
        status: The object.
        asked: The request.
        code: The HTTP status of the answer; in a watch the object's own code counts.
        wait: Seconds of the answer's Retry-After.
    """
    own = status.get("code")
    code = code if code is not None else own if isinstance(own, int) else 0
    kind = _ERRORS.get(code) or (ApiFailed if code >= 500 else ApiRefused)
    message = _text(status, "message")
    fields: dict[str, Any] = {}
    if kind is Forbidden:
        found = _USER.search(message)
        fields["user"] = found[1] if found else ""
    if kind is Unauthorized:
        fields["credentials"] = asked.credentials
    return kind(
        server=asked.server,
        status=code,
        reason=_text(status, "reason"),
        message=message,
        verb=asked.verb,
        collection=asked.collection,
        namespace=asked.namespace,
        name=asked.name,
        retry_after=wait if wait is not None else _details_wait(status),
        **fields,
    )


def _text(status: Object, key: str) -> str:
    value = status.get(key)
    return value if isinstance(value, str) else ""


def _details_wait(status: Object) -> float | None:
    details = status.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return min(float(seconds), LONGEST_WAIT) if isinstance(seconds, int) and seconds > 0 else None


def _seconds(header: str | None) -> float | None:
    """The seconds of a Retry-After header, which may be a number or a date."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,9}", header.strip()):
        return min(float(header), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    wait = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(wait, 0.0), LONGEST_WAIT)
