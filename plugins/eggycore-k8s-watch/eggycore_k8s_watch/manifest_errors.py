"""Why manifests cannot be written or read, and what a person is told about it."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import UsageError

__all__ = ["ManifestUnreadable", "ManifestsRefused"]


@dataclass(eq=False)
class ManifestsRefused(UsageError):
    """No manifests can be written for the app as it is configured.

    Args:
        what: What stands in the way, a sentence.
        why: Why it does, a sentence.
        action: What to do about it.
    """

    what: str
    why: str
    action: str


@diagnose.register
def _(error: ManifestsRefused) -> Diagnosis:
    return Diagnosis(description=f"No manifests can be written: {error.what}", cause=error.why, action=error.action)


@dataclass(eq=False)
class ManifestUnreadable(UsageError):
    """A file is no Kubernetes manifest that can be read. Its text is never repeated: it may hold secrets.

    Args:
        file: Its path, or "standard input".
        reason: What is wrong: "not UTF-8", "line 7: expected the end of a block".
        action: What to do about it.
    """

    file: str
    reason: str
    action: str


@diagnose.register
def _(error: ManifestUnreadable) -> Diagnosis:
    return Diagnosis(
        description=f"{error.file} cannot be read as Kubernetes manifests.",
        cause=f"{error.reason[:1].upper()}{error.reason[1:]}.",
        action=error.action,
    )
