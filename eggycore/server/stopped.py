"""What became of the requests that were in flight when a server stopped."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Stopped"]


@dataclass(frozen=True)
class Stopped:
    """How a server stopped.

    Args:
        finished: Requests that were in flight, or still arrived, and were answered in full.
        cut: Requests that were not, because the time was over.
    """

    finished: int
    cut: int
