"""An exception as data: type, message, frames, cause; never local variables."""

from __future__ import annotations

import itertools
from types import TracebackType

from eggycore.log.masking import mask_text

__all__ = ["describe", "message_of"]

FRAMES_LIMIT = 50
"""Frames of one traceback that are kept: a fifth from its outer end, the rest from where it was raised."""

CHAIN_LIMIT = 10
"""Exceptions that one line describes: itself, its causes, the members of groups."""

MESSAGE_LIMIT = 8192
"""Characters of one exception's message."""

Description = dict[str, object]


def describe(error: BaseException) -> Description:
    """The exception as {"type", "message", "frames"}, with "cause", "context" or "exceptions" (of a group) if any.

    Frames are {"file", "line", "function"}, the outermost first, and never hold local variables. Passwords in URLs
    and `password=...` pairs in messages are masked.
    """
    return _describe(error, itertools.count(1), set())


def _describe(error: BaseException, described: itertools.count[int], seen: set[int]) -> Description:
    seen.add(id(error))
    description: Description = {
        "type": _type_name(error),
        "message": message_of(error),
        "frames": _frames(error.__traceback__),
    }
    for name, related in _related(error):
        if id(related) not in seen and next(described) < CHAIN_LIMIT:
            description[name] = _describe(related, described, seen)
    if isinstance(error, BaseExceptionGroup):
        members = [member for member in error.exceptions if next(described) < CHAIN_LIMIT]
        description["exceptions"] = [_describe(member, described, seen) for member in members]
    return description


def _related(error: BaseException) -> list[tuple[str, BaseException]]:
    if error.__cause__ is not None:
        return [("cause", error.__cause__)]
    if error.__context__ is not None and not error.__suppress_context__:
        return [("context", error.__context__)]
    return []


def message_of(error: BaseException) -> str:
    """The text of an exception, masked; also when its own `__str__` fails."""
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 - code of others; a log line must come out of a broken __str__ too
        return f"<__str__ raised {type(failure).__name__}>"
    return mask_text(text[:MESSAGE_LIMIT])


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _frames(trace: TracebackType | None) -> list[Description]:
    frames: list[Description] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append({"file": code.co_filename, "line": trace.tb_lineno, "function": code.co_qualname})
        trace = trace.tb_next
    if len(frames) <= FRAMES_LIMIT:
        return frames
    outer = FRAMES_LIMIT // 5
    left_out = {"file": "...", "line": 0, "function": f"{len(frames) - FRAMES_LIMIT} frames left out"}
    return [*frames[:outer], left_out, *frames[outer - FRAMES_LIMIT :]]
