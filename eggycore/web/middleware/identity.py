"""Who a request is: its id, and the trace that it belongs to."""

from __future__ import annotations

import re

from multidict import istr

__all__ = ["REQUEST_ID", "TRACEPARENT", "trace_id_of"]

REQUEST_ID = istr("X-Request-ID")
TRACEPARENT = istr("traceparent")

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def trace_id_of(traceparent: str) -> str | None:
    """The trace id in a W3C traceparent header, or None when the header is not valid.

    >>> trace_id_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '4bf92f3577b34da6a3ce929d0e0e4736'
    """
    match = _TRACEPARENT.fullmatch(traceparent.strip())
    if match is None or (match[1] == "00" and match[3]):
        return None
    return match[2]
