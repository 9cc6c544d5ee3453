"""What every line of a request or task carries: one ContextVar that holds one dict, and request ids."""

from __future__ import annotations

import os
from contextvars import ContextVar
from random import Random
from types import TracebackType

from eggycore.log.fields import cleaned

__all__ = ["CONTEXT", "REQUEST_ID_LIMIT", "accept_request_id", "new_request_id", "request_id", "with_context"]

_NOTHING: dict[str, object] = {}

CONTEXT: ContextVar[dict[str, object]] = ContextVar("eggycore.log.context", default=_NOTHING)
"""The fields of the current context. Replace the dict, never change it: other tasks hold the same one.

It is merged into lines as it is. `with_context` cleans on the way in; who sets it directly answers for its content.
"""

REQUEST_ID_LIMIT = 128
"""Longest request id, in characters, that is taken over from a caller."""

_random_bits = Random(os.urandom(16)).getrandbits  # an id, never a token; four times cheaper than uuid4


class with_context:  # noqa: N801 - used as a function: `with with_context(order=7):`
    """Add fields to every line logged inside the block, by this task and by tasks and threads that copy its context.

    Example:
        >>> with with_context(order=7):
        ...     CONTEXT.get()
        {'order': 7}
    """

    __slots__ = ("_before", "_fields")

    def __init__(self, /, **fields: object) -> None:
        self._fields = cleaned(fields)
        self._before = _NOTHING

    def __enter__(self) -> None:
        self._before = CONTEXT.get()
        CONTEXT.set({**self._before, **self._fields})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not reset(token): an async generator may leave the block in another context, where the token is refused.
        CONTEXT.set(self._before)


def new_request_id() -> str:
    """A new id of 32 hexadecimal digits. Unique, not secret: never use it as a token."""
    return f"{_random_bits(128):032x}"


def request_id() -> str | None:
    """The request id of the current context, or None outside of a request."""
    value = CONTEXT.get().get("request_id")
    return value if isinstance(value, str) else None


def accept_request_id(text: str | None) -> str | None:
    """An id that came with a request, if it may be taken over: 1 to 128 printable ASCII characters; else None."""
    if text and len(text) <= REQUEST_ID_LIMIT and text.isascii() and text.isprintable() and not text.isspace():
        return text
    return None
