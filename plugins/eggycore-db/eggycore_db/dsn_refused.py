"""The refusal of a DSN. What a DSN holds may be a password, so nothing of it is kept or repeated."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError

__all__ = ["DsnRefused"]


@dataclass(eq=False)
class DsnRefused(UsageError):
    """A DSN cannot be used. Holds nothing of the DSN itself but names that are well known: of schemes and options.

    Args:
        reason: What is wrong, after "The database DSN": "names no database".
        cause: Why that is so, or what it may come from; a sentence.
        action: What to write instead; a sentence.
    """

    reason: str
    cause: str
    action: str


@diagnose.register
def _(error: DsnRefused) -> Diagnosis:
    return Diagnosis(description=f"The database DSN {error.reason}.", cause=error.cause, action=error.action)
