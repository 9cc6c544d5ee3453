"""What the Kubernetes API answers when it refuses: Status objects, worded as kube-apiserver words them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

NOT_FOUND_RESOURCE = "the server could not find the requested resource"
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


@dataclass
class ApiStatus(Exception):
    """A refusal.

    Attributes:
        code: The HTTP status.
        reason: The machine's word for it, such as `Conflict`; empty where the real server forgets it.
        details: Of the Status object; `retryAfterSeconds` there is sent as the header Retry-After too.
        continue_from: The token that a list which has expired can be continued with.
    """

    code: int
    reason: str
    message: str
    details: Mapping[str, Any] | None = None
    continue_from: str = ""

    def as_object(self) -> Object:
        """The Status object."""
        metadata = {"continue": self.continue_from} if self.continue_from else {}
        status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure"}
        status["message"] = self.message
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = dict(self.details)
        return status | {"code": self.code}

    def headers(self) -> dict[str, str]:
        """Retry-After, where the details have it."""
        seconds = (self.details or {}).get("retryAfterSeconds")
        return {} if seconds is None else {"Retry-After": str(seconds)}


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a message is about: `leases.coordination.k8s.io "billing"`."""

    plural: str
    group: str
    name: str

    @property
    def qualified(self) -> str:
        """The resource with its group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def __str__(self) -> str:
        return f'{self.qualified} "{self.name}"'

    def details(self, **more: Any) -> Object:
        """Of the Status object."""
        named: Object = {"name": self.name} if self.name else {}
        return named | ({"group": self.group} if self.group else {}) | {"kind": self.plural} | more


def not_found(what: Named) -> ApiStatus:
    """There is no such object."""
    return ApiStatus(404, "NotFound", f"{what} not found", what.details())


def no_such_resource() -> ApiStatus:
    """The path is none of the API's."""
    return ApiStatus(404, "NotFound", NOT_FOUND_RESOURCE, {})


def already_exists(what: Named) -> ApiStatus:
    """It was to be created."""
    return ApiStatus(409, "AlreadyExists", f"{what} already exists", what.details())


def conflict(what: Named, why: str = MODIFIED) -> ApiStatus:
    """It is not what the caller believes it to be."""
    return ApiStatus(409, "Conflict", f"Operation cannot be fulfilled on {what}: {why}", what.details())


def bad_request(message: str) -> ApiStatus:
    """Nothing that the API understands."""
    return ApiStatus(400, "BadRequest", message)


def malformed_version(field: str, text: str) -> ApiStatus:
    """A resourceVersion that is no number: a fault of the caller, which the real server answers with a 500."""
    where = f'{field}: Invalid value: "{text}": ' if field else ""
    return ApiStatus(500, "", f'{where}strconv.ParseUint: parsing "{text}": invalid syntax')


def invalid(kind: str, group: str, name: str, causes: Sequence[tuple[str, str, str]]) -> ApiStatus:
    """Understood, and against the rules.

    Args:
        kind: Singular, as in the object.
        group: The API group; empty for the core.
        name: Of the object.
        causes: Field, machine's reason, sentence of each fault.
    """
    told = [f"{where}: {message}" for where, _, message in causes]
    listed = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    qualified = f"{kind}.{group}" if group else kind
    named: Object = {"name": name} if name else {}
    details: Object = named | ({"group": group} if group else {}) | {"kind": kind}
    details["causes"] = [{"reason": reason, "message": message, "field": where} for where, reason, message in causes]
    return ApiStatus(422, "Invalid", f'{qualified} "{name}" is invalid: {listed}', details)


def forbidden(what: Named, *, user: str, verb: str, namespace: str) -> ApiStatus:
    """RBAC does not grant it."""
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    who = str(what) if what.name else what.qualified
    return ApiStatus(
        403,
        "Forbidden",
        f'{who} is forbidden: User "{user}" cannot {verb} resource "{what.plural}" in API group "{what.group}" {where}',
        what.details(),
    )


def unauthorized() -> ApiStatus:
    """Nobody that the API server knows."""
    return ApiStatus(401, "Unauthorized", "Unauthorized")


def expired(message: str, *, continue_from: str = "") -> ApiStatus:
    """410 Gone: the history does not reach back that far."""
    return ApiStatus(410, "Expired", message, continue_from=continue_from)


def too_large_version(asked: int, current: int) -> ApiStatus:
    """A resourceVersion that has not been given out yet."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiStatus(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {asked}, current: {current}",
        {"causes": [cause], "retryAfterSeconds": 1},
    )


def method_not_allowed() -> ApiStatus:
    """The path is right, the method is not."""
    return ApiStatus(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media_type() -> ApiStatus:
    """Not JSON, which is all that this double reads."""
    message = "the body of the request was in an unknown format - accepted media types include: application/json"
    return ApiStatus(415, "UnsupportedMediaType", message)


def too_large_body(limit: int) -> ApiStatus:
    """More bytes than the server reads."""
    return ApiStatus(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def failing(code: int, retry_after: int | None) -> ApiStatus:
    """A server that is not well: 500, 503, 504 and the like."""
    details: Object | None = None if retry_after is None else {"retryAfterSeconds": retry_after}
    if code == 429:
        return ApiStatus(429, "TooManyRequests", "Too many requests, please try again later.", details)
    if code == 503:
        return ApiStatus(503, "ServiceUnavailable", "the server is currently unable to handle the request", details)
    if code == 504:
        return ApiStatus(504, "Timeout", "Timeout: request did not complete within the allotted timeout", details)
    message = "etcdserver: request timed out"
    return ApiStatus(code, "InternalError", f"Internal error occurred: {message}", details)
