"""What goes wrong with a cache, and what a person is told about it."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError

__all__ = ["BadKey", "BadValue", "CacheClosed", "ValueTooLarge"]

SHOWN = 60
"""Characters of a key that a message shows."""


@dataclass(eq=False)
class BadKey(EggycoreError, ValueError):
    """A key that no cache takes."""

    key: object
    reason: str


@dataclass(eq=False)
class BadValue(EggycoreError, TypeError):
    """A value that is not bytes."""

    key: str
    type_name: str


@dataclass(eq=False)
class ValueTooLarge(EggycoreError, ValueError):
    """A value that does not fit into the cache, even alone.

    Args:
        key: Its key.
        size: Bytes of key and value.
        limit: Bytes that the cache holds.
        setting: The setting that says so.
    """

    key: str
    size: int
    limit: int
    setting: str


@dataclass(eq=False)
class CacheClosed(EggycoreError):
    """The cache was used after it was closed."""


@diagnose.register
def _(error: BadKey) -> Diagnosis:
    return Diagnosis(
        description=f"The cache key {_shown(error.key)} {error.reason}.",
        action="Use a text of one character or more without spaces and control characters, for example 'form:7'.",
    )


@diagnose.register
def _(error: BadValue) -> Diagnosis:
    return Diagnosis(
        description=f"The value for the cache key {_shown(error.key)} is of type {error.type_name}, not bytes.",
        action="Encode it first, for example with orjson.dumps(value) or text.encode().",
    )


@diagnose.register
def _(error: ValueTooLarge) -> Diagnosis:
    return Diagnosis(
        description=f"The value for the cache key {_shown(error.key)} does not fit into the cache.",
        cause=f"With its key it has {error.size} bytes, and the cache holds {error.limit} ({error.setting}).",
        action=f"Raise {error.setting}, or cache something smaller.",
    )


@diagnose.register
def _(error: CacheClosed) -> Diagnosis:
    return Diagnosis(
        description="The cache is closed.",
        cause="It was used after the runtime had closed it.",
        action="Use it in handlers and services, which end before it closes.",
    )


def _shown(key: object) -> str:
    text = repr(key)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
