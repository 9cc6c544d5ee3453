"""What goes wrong with a batch as a whole: it was asked for wrongly, or ended before its rows did."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError, UsageError

__all__ = ["BulkInterrupted", "BulkRefused"]


@dataclass(eq=False)
class BulkInterrupted(EggycoreError):
    """Rows were being written, and something that is no row's fault ended it. A batch is written whole or not at all.

    Args:
        table: Where they were written.
        taken: How many rows were taken from the source; some of them may not have been sent yet.
        written: How many are in the database for certain.
        failed: How many it refused for themselves.
        in_doubt: How many belong to batches whose connection was lost between "commit" and the answer to it: each of
            these batches is there whole, or not at all.
        resume: Rows before this place, counted from 0, are all written or refused; of those from there on, some may be.
        cause: What ended it.
    """

    table: str
    taken: int
    written: int
    failed: int
    in_doubt: int
    resume: int
    cause: BaseException


@dataclass(eq=False)
class BulkRefused(UsageError):
    """A batch cannot be written as it was asked for; nothing was taken from the source.

    Args:
        model: The model's name.
        reason: What is wrong, after the model's name: "has no field titel".
        cause: Why that is so; a sentence.
        action: What to write instead; a sentence.
    """

    model: str
    reason: str
    cause: str
    action: str


@diagnose.register
def _(error: BulkInterrupted) -> Diagnosis:
    told = diagnose(error.cause).cause if isinstance(error.cause, EggycoreError) else f"{_first_line(error.cause)}."
    doubt = f" {error.in_doubt} more may be: the answer to their commit was lost." if error.in_doubt else ""
    return Diagnosis(
        description=f"Writing rows into {error.table} was interrupted.",
        cause=f"{told} Of {error.taken} rows taken {error.written} are written and {error.failed} were refused.{doubt}",
        action=f"Remove the cause and go on from row {error.resume}, counted from 0, with bulk_upsert: "
        "some of those from there on may be written already.",
    )


@diagnose.register
def _(error: BulkRefused) -> Diagnosis:
    return Diagnosis(description=f"{error.model} {error.reason}.", cause=error.cause, action=error.action)


def _first_line(error: BaseException) -> str:
    from eggycore_db.bulk_faults import reason_of

    return f"{type(error).__name__}: {reason_of(error)}".rstrip(".")
