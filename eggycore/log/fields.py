"""The fields of a line: names that are the line's own, and values as they may be shown."""

from __future__ import annotations

from collections.abc import Mapping

from eggycore.log.exceptions import message_of
from eggycore.log.masking import mask_text, masked, masked_fields

__all__ = ["RESERVED", "TEXT_LIMIT", "cleaned", "field_name", "shown", "text_of"]

RESERVED = frozenset({"timestamp", "level", "message", "service", "environment"})
"""Keys that every line has; a field of that name is written as `level_`."""

TEXT_LIMIT = 8192
"""Characters that are kept of the text of an object that is not JSON by itself."""


def field_name(name: str) -> str:
    """The name under which a field is written."""
    return f"{name}_" if name in RESERVED else name


def cleaned(fields: Mapping[str, object]) -> dict[str, object]:
    """A copy of the fields as they may be merged into a line: secrets masked, reserved names renamed."""
    return {field_name(name): value for name, value in masked_fields(fields).items()}


def shown(value: object) -> object:
    """An object that JSON does not know as something it knows. Never raises."""
    if isinstance(value, bytes | bytearray | memoryview):
        return mask_text(bytes(value[:TEXT_LIMIT]).decode(errors="backslashreplace"))
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {message_of(value)}"
    simpler = masked(value)
    return simpler if simpler is not value else text_of(value)


def text_of(value: object) -> str:
    """The masked `str()` of an object that UTF-8 can hold; also when its own `__str__` fails."""
    try:
        text = str(value)[:TEXT_LIMIT]
    except Exception as failure:  # noqa: BLE001 - code of others; a log call must survive a broken __str__
        return f"<{type(value).__name__}: __str__ raised {type(failure).__name__}>"
    return mask_text(text).encode(errors="backslashreplace").decode()
