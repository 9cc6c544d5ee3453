"""What goes wrong with transactions, and what a person is told about it."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError

__all__ = ["TransactionAborted", "TransactionConflict", "TransactionLeftOpen", "TransactionOfAnotherTask"]


@dataclass(eq=False)
class TransactionOfAnotherTask(EggycoreError):
    """A task used the database inside a transaction that belongs to another task."""

    task: str
    owner: str
    opened_at: str


@dataclass(eq=False)
class TransactionAborted(EggycoreError):
    """The end of a transaction found that a statement in it had failed, so that it was rolled back."""

    opened_at: str


@dataclass(eq=False)
class TransactionConflict(EggycoreError):
    """A transaction lost against another one, and was not or could not be replayed.

    Args:
        reason: What the server says.
        attempts: How often it was tried.
        differing: The step that gave another result when it was replayed, "" when that is not why.
    """

    reason: str
    attempts: int
    differing: str = ""


@dataclass(eq=False)
class TransactionLeftOpen(EggycoreError):
    """A function given to `Database.run` returned inside a transaction."""

    function: str


@diagnose.register
def _(error: TransactionOfAnotherTask) -> Diagnosis:
    return Diagnosis(
        description=f"The task {error.task} used the database inside a transaction of the task {error.owner}.",
        cause=f"The transaction was opened at {error.opened_at}; its connection serves one task at a time, "
        "and on another one this query would not be part of it.",
        action="Await the query in the task that opened the transaction, or start the other task before it.",
    )


@diagnose.register
def _(error: TransactionAborted) -> Diagnosis:
    return Diagnosis(
        description=f"The transaction opened at {error.opened_at} was rolled back.",
        cause="A statement in it failed, its error was caught inside the block, and the server commits no such one.",
        action="Let the error leave the block, or put what may fail into a block of its own inside it, a savepoint.",
    )


@diagnose.register
def _(error: TransactionConflict) -> Diagnosis:
    tried = f" after {error.attempts} attempts" if error.attempts > 1 else ""
    cause = f"The server ended it{tried}: {error.reason}."
    if error.differing:
        return Diagnosis(
            description="A transaction lost against another one, and could not be replayed.",
            cause=f"{cause} When it was replayed, {error.differing} gave another result than before.",
            action="Do the work in one function, `await db.run(function)` in the transaction, or try all of it again.",
        )
    return Diagnosis(
        description="A transaction lost against another one.",
        cause=cause,
        action="Try it again, or have that done: `async with db.transaction(retries=3)`.",
    )


@diagnose.register
def _(error: TransactionLeftOpen) -> Diagnosis:
    return Diagnosis(
        description=f"{error.function} returned with a transaction open; it was rolled back.",
        cause="A connection is handed to the next caller after each function.",
        action="Use `with db.atomic():` inside the function.",
    )
