"""How long the way up and the way down may take."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError

__all__ = ["Budgets", "StartTimeout"]


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """How long things may take, in seconds.

    Args:
        startup: From the first initializer to READY.
        shutdown: From the request to stop to the end of the process, the drain delay included.
        drain_delay: How long to keep serving after readiness turned red.
        slow_after: When a step that is still running is named in a warning.
    """

    startup: float = 60.0
    shutdown: float = 25.0
    drain_delay: float = 0.0
    slow_after: float = 10.0

    def turn(self, left: float) -> float:
        """What one step of closing may take of the seconds that are left: those after it get their turn too."""
        return max(0.0, left) * 0.8

    @property
    def closing(self) -> float:
        """The last part of the shutdown, kept for closing and flushing."""
        return min(5.0, self.shutdown * 0.2)


@dataclass(eq=False)
class StartTimeout(EggycoreError):
    """The start took longer than STARTUP_TIMEOUT.

    Args:
        seconds: The budget.
        step: What was being done.
        waiting_for: Names of the checks it waited for, when it stood at the first readiness.
        refusal: Why the last attempt at the step failed, when it was being tried again.
        stack: Where the step's task was waiting.
    """

    seconds: float
    step: str
    waiting_for: tuple[str, ...] = ()
    refusal: str = ""
    stack: str = ""


@diagnose.register
def _(error: StartTimeout) -> Diagnosis:
    waiting = f"These checks have not passed: {', '.join(error.waiting_for)}." if error.waiting_for else ""
    refused = f"It was being tried again; the last attempt failed: {error.refusal}" if error.refusal else ""
    standing = f"It was waiting here:\n{error.stack}" if error.stack else ""
    return Diagnosis(
        description=f"The start did not finish within {error.seconds:g} s; it stood at: {error.step}.",
        cause=waiting or refused or standing,
        action="Mend what it waits for, or allow more with STARTUP_TIMEOUT.",
    )
